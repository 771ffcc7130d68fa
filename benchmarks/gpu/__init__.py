"""What has to be seen on a CUDA device: tests, waits, costs at full size, compiled models, lessons."""
