"""Tables: reading raw columns, inferring what they are, and transforming them into features."""
