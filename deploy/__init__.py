"""How Nervure runs: the command line, the servers on one laptop, the demo, images and manifests."""
