"""The operations of the protocol in groups, one file for each tag of the OpenAPI document."""
