"""Files with labels: folders of classes, and CSV files of paths."""
