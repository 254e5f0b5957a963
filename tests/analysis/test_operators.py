"""Families and precisions of kernels, by names that cuDNN, cuBLAS, CUTLASS, ATen, Triton, TensorRT and others have."""

from __future__ import annotations

import pytest

from bench.analysis import operators

FAMILIES = {
    "conv": [
        "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x32x32_stage4_warpsize4x1x1",
        "sm90_xmma_dgrad_implicit_gemm_indexed_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x64x64",
        "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32_128x128_16x4_nhwc_align4>(P)",
        "void cudnn::cnn::conv2d_grouped_direct_kernel<(bool)0, (bool)1, (bool)0, (bool)0>",
        "void implicit_convolve_sgemm<__half, __half, (int)1024, (int)5, (int)5, (int)3, (int)3, (int)3>",
        "_5x_cudnn_ampere_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1",
        "void at::native::(anonymous namespace)::conv_depthwise2d_forward_kernel<1, c10::Half, int>",
        "triton_tem_fused_convolution_4",
        "CaskConvolution",
        "CaskDeconvolutionV2",
        "aten::conv2d",
        "aten::mkldnn_convolution",
        "Conv",
        "ConvTranspose",
        "aten::conv_transpose2d",
    ],
    "gemm": [
        "ampere_fp16_s16816gemm_fp16_128x64_ldg8_f2f_stages_64x4_tn",
        "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize64x64x64_stage4_warpsize2x2x1_tensor16x8x16_kernel",
        "void cutlass::Kernel2<cutlass_80_wmma_tensorop_f16_s161616gemm_f16_32x32_64x2_nn_align8>(P)",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, __half, float, __half, true, false>",
        "nvjet_hsh_128x128_64x6_2x1_v_bz_TNT",
        "void gemmSN_TN_kernel<float, 128, 16, 2, 4, 4, 4, true>",
        "void gemv2T_kernel_val<int, int, __half, __half, __half, float, 128, 16, 4, 4, false>",
        "triton_tem_fused_mm_3",
        "CaskGemmMatrixMultiply",
        "aten::addmm",
        "aten::linear",
        "MatMul",
        "Gemm",
    ],
    "attention": [
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, false>>",
        "fmha_cutlassF_f16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass::half_t>::Params)",
        "_gemm_mha_v2_0x1f4f2e7f9cf6f0ac62b3c7f2f8b3e1a2",
        "aten::scaled_dot_product_attention",
    ],
    "reformat": [
        "void cudnn::engines_precompiled::nchwToNhwcKernel<__half, __half, float, (bool)0, (bool)1>",
        "void cudnn::ops::nhwcToNchwKernel<__half, __half, float, bool=1, bool=0, cudnnKernelDataType_t=0>",
        "void genericReformat::copyVectorizedKernel<double, float, __half, 8, true>",
        "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)>",
        "__myl_Cast_0xdc6c7a0ad3cd3d30d1d0ef0b9c37e56d",
        "void onnxruntime::cuda::_UnaryElementWise<float, __half, onnxruntime::cuda::OP_Cast<float, __half>, 256, 4>",
        "triton_poi_fused__to_copy_0",
        "triton_poi_fused_clone_12",
        "Reformat",
    ],
    "norm": [
        "void cudnn::bn_fw_inf_1C11_kernel_NCHW<__half, float, true, 1>",
        "void at::native::batch_norm_transform_input_channels_last_kernel<c10::Half, c10::Half, float, 4>",
        "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::Half, float>",
        "triton_per_fused_add_native_layer_norm_5",
        "aten::batch_norm",
    ],
    "pool": [
        "void at::native::(anonymous namespace)::max_pool_forward_nhwc<c10::Half, int>",
        "sm50_xmma_pooling_fw_4d_FP16FP32NHWC_Average_FastDiv_CAlign4",
        "CaskPooling",
        "aten::max_pool2d",
        "GlobalAveragePool",
    ],
    "softmax": ["void (anonymous namespace)::softmax_warp_forward<c10::Half, c10::Half, float, 7>", "aten::softmax"],
    "reduce": ["void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps>", "ReduceMean"],
    "index": ["void at::native::(anonymous namespace)::indexSelectLargeIndex<c10::Half, long>", "aten::embedding"],
    "pointwise": [
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::Half>, std::array>",
        "triton_poi_fused__native_batch_norm_legit_no_training_relu_2",
        "triton_poi_fused_convolution_9",
        "__myl_AddResTranMulSoft_0x1f4f2e7f9cf6f0ac62b3c7f2f8b3e1a2",
        "PWN(/layer1/layer1.0/Add, /layer1/layer1.0/relu_2/Relu)",
        "PointWiseV2",
        "aten::relu_",
        "aten::add",
        "Relu",
        "Add",
    ],
    "copy": [
        "void at::native::(anonymous namespace)::CatArrayBatchedCopy_contig<at::native::OpaqueType<2u>, unsigned int>",
        "Memcpy HtoD (Pinned -> Device)",
        "triton_poi_fused_cat_7",
    ],
    "other": ["k", ""],
}  # fmt: skip
NAMES = [(name, family) for family, names in FAMILIES.items() for name in names]


@pytest.mark.parametrize(("name", "family"), NAMES, ids=[f"{family}-{name[:40]}" for name, family in NAMES])
def test_a_name_has_a_family(name: str, family: str) -> None:
    assert operators.family(name) == family


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x32x32", "fp16"),
        ("sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x128x16", "tf32"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32_128x128_16x4>", "tf32"),
        ("ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x4_tn", "bf16"),
        ("ampere_sgemm_128x64_tn", "fp32"),
        ("_5x_cudnn_ampere_scudnn_128x64_relu_medium_nn_v1", "fp32"),
        ("sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs_vect_c_32", "int8"),
        ("cutlass3x_sm100_tensorop_s256x256x32gemm_f8_f8_f32_f16_f16", "fp8"),
        ("elementwise", ""),
    ],
)
def test_a_name_tells_a_precision(name: str, precision: str) -> None:
    assert operators.precision(name) == precision


def test_a_generated_kernel_lists_its_operators() -> None:
    name = "triton_poi_fused__native_batch_norm_legit_no_training_add_relu_2"
    assert operators.operators(name) == ("native_batch_norm_legit_no_training", "add", "relu")
    assert operators.operators("graph_0_cpp_fused__softmax_add_3") == ("softmax", "add")
    assert operators.operators("ampere_sgemm_128x64_tn") == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ampere_fp16_s16816gemm_fp16_128x64_ldg8_f2f_stages_64x4_tn", True),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32_128x128_16x4>(P)", True),
        ("sm90_xmma_dgrad_implicit_gemm_indexed_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x64x64", True),
        ("sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x64x32_stage5", True),
        ("nvjet_sm90_hsh_128x128_64x6_1x2_h_bz_TNT", True),
        ("sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x32x8_stage3_warpsize1x2x1_ffma_aligna4", False),
        ("void implicit_convolve_sgemm<__half, __half, 1024, 5, 5, 3, 3, 3, 1, false, false, true>(int)", False),
        ("void precomputed_convolve_sgemm<__half, 1024, 5, 5, 4, 3, 3, 1, false>(int, int, int)", False),
        ("void cudnn::detail::dgrad_engine<__half, 512, 6, 5, 3, 3, 3, false>(int, int, int)", False),
        ("_5x_cudnn_ampere_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1", False),
        ("void cutlass::Kernel2<cutlass_80_simt_sgemm_128x128_8x4_tn_align1>(P)", False),
        ("void gemv2T_kernel_val<int, int, __half, __half, __half, float, 128, 16, 4, 4, false>", None),
        ("void cublasLt::splitKreduce_kernel<32, 16, int, float, __half, float, __half, true, false>", None),
        ("triton_tem_fused_mm_3", None),
        ("CaskConvolution", None),
    ],
)
def test_tensor_cores_are_known_by_the_instruction_in_the_name(name: str, expected: bool | None) -> None:
    assert operators.tensor_cores(name) is expected
