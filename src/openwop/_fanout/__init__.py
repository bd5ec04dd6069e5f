"""What stands behind a fan-out; the public names are in ``openwop.fanout``."""
