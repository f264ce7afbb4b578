"""From the records of runs to a page that says what they show, and no more."""
