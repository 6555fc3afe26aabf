"""What is measured on one GPU, a part of the table each."""
