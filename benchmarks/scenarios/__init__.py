"""What is measured: one module per question, each with a ``run`` that prints its figures and returns the findings."""
