"""What selection needs to know of a model: its prunable layers and their channel dependencies."""
