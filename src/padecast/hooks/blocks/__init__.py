"""What is put around the blocks of a described model, their modules and tokens."""
