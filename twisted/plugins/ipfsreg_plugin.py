"""Makes ``twistd ipfsreg`` known."""

from twisted.application.service import ServiceMaker

ipfsreg = ServiceMaker("ipfsreg", "ipfsreg.tap", "A container registry whose storage is IPFS.", "ipfsreg")
