"""Tables: how raw columns are read, what they are, and how they become the numbers that a tower reads."""
