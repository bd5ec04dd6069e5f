"""Who is measured.  Each module has a function for each task it takes part in; the function's name is the task's."""
