"""The blocking operations of the protocol in groups, as in :mod:`openwop.resources`."""
