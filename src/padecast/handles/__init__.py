"""What a user holds: a method tied to a pipeline, to be switched on and off."""
