"""What stands behind an inbox; the public names are in ``openwop.inbox``."""
