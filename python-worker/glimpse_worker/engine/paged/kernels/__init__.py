"""Triton kernels for CUDA and ROCm, one subject a module; nothing here runs without Triton."""
