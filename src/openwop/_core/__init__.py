"""Everything that can be decided without waiting.

The modules here take data and return data. They open no connection, run in no event loop, read no clock and
draw no random numbers: whoever calls them passes those in. That makes each rule of the protocol testable as a
table, and keeps the asynchronous layers above thin.
"""
