"""Where a bundle's graph is computed: ONNX Runtime on CPU, CUDA or TensorRT, or OpenVINO, behind one interface."""
