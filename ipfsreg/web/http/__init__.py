"""An HTTP/1.1 server for Twisted, over httptools (llhttp). It knows nothing of registries."""
