"""openwop with other libraries, one module for each, behind the extra of its name: nothing is imported here."""
