"""openwop"""
