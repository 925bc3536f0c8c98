"""The scoring service: features from Redis, models through ONNX Runtime, sticky experiments. No torch."""
