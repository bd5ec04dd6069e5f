"""How a chat session follows its run."""
