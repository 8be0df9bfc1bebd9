"""What happens to a found model: export."""
