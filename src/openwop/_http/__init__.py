"""Everything that touches the HTTP library, and nothing else does."""
