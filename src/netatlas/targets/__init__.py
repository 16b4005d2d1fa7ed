"""What a user names: ONNX files, checkpoints, Python objects, Hub repositories."""
