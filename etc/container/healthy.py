"""Whether the registry in this container is alive: HEALTHCHECK's command. Its answer is its exit code.

IPFSREG_HEALTH_URL is for a registry that does not listen on port 5000 without TLS.
"""

import os
import sys
import urllib.request

try:
    url = os.environ.get("IPFSREG_HEALTH_URL", "http://127.0.0.1:5000/livez")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=8) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except OSError as error:
    sys.exit(f"not healthy: {error}")
