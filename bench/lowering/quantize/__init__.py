"""Post-training quantization of normalised graphs: calibration, scales, and where quantize and dequantize stand."""
