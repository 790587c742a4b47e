/* Every operator a file may name, by group; FM_OP(x) refers to `const fm_op fm_op_x`.  No include guard: included with
 * FM_OP defined. */

/* elementwise_unary.c */
FM_OP(Abs) FM_OP(Acos) FM_OP(Acosh) FM_OP(Asin) FM_OP(Asinh) FM_OP(Atan) FM_OP(Atanh) FM_OP(BitwiseNot) FM_OP(Ceil)
FM_OP(Celu) FM_OP(Cos) FM_OP(Cosh) FM_OP(Elu) FM_OP(Erf) FM_OP(Exp) FM_OP(Floor) FM_OP(Gelu) FM_OP(HardSigmoid)
FM_OP(HardSwish) FM_OP(IsInf) FM_OP(IsNaN) FM_OP(LeakyRelu) FM_OP(Log) FM_OP(Mish) FM_OP(Neg) FM_OP(Not)
FM_OP(Reciprocal) FM_OP(Relu) FM_OP(Round) FM_OP(Selu) FM_OP(Sigmoid) FM_OP(Sign) FM_OP(Sin) FM_OP(Sinh)
FM_OP(Softplus) FM_OP(Softsign) FM_OP(Sqrt) FM_OP(Swish) FM_OP(Tan) FM_OP(Tanh) FM_OP(ThresholdedRelu)
/* elementwise_binary.c */
FM_OP(Add) FM_OP(And) FM_OP(BitShift) FM_OP(BitwiseAnd) FM_OP(BitwiseOr) FM_OP(BitwiseXor) FM_OP(Div) FM_OP(Equal)
FM_OP(Greater) FM_OP(GreaterOrEqual) FM_OP(Less) FM_OP(LessOrEqual) FM_OP(Max) FM_OP(Mean) FM_OP(Min) FM_OP(Mod)
FM_OP(Mul) FM_OP(Or) FM_OP(PRelu) FM_OP(Sub) FM_OP(Sum) FM_OP(Xor)
/* elementwise_select.c */
FM_OP(Cast) FM_OP(CastLike) FM_OP(Clip) FM_OP(Pow) FM_OP(Where)
/* matmul.c, einsum.c, conv.c, pool.c, norm.c, channel_norm.c, softmax.c, attention.c */
FM_OP(MatMul) FM_OP(Gemm) FM_OP(Einsum) FM_OP(Conv) FM_OP(ConvTranspose)
FM_OP(MaxPool) FM_OP(AveragePool) FM_OP(GlobalAveragePool) FM_OP(GlobalMaxPool)
FM_OP(LayerNormalization) FM_OP(RMSNormalization) FM_OP(SimplifiedLayerNormalization) FM_OP(LpNormalization)
FM_OP(GroupNormalization) FM_OP(InstanceNormalization) FM_OP(BatchNormalization)
FM_OP(Softmax) FM_OP(LogSoftmax) FM_OP(Attention)
/* view.c, slice.c, concat.c, generate.c */
FM_OP(Dropout) FM_OP(Expand) FM_OP(Flatten) FM_OP(Identity) FM_OP(Reshape) FM_OP(Squeeze) FM_OP(Transpose)
FM_OP(Unsqueeze) FM_OP(Slice) FM_OP(Split) FM_OP(Concat) FM_OP(Tile) FM_OP(Constant) FM_OP(ConstantOfShape)
FM_OP(EyeLike) FM_OP(OneHot) FM_OP(Range) FM_OP(Shape) FM_OP(Size) FM_OP(Trilu)
/* gather.c, gather_nd.c, scatter.c, reduce.c, order.c */
FM_OP(Gather) FM_OP(GatherElements) FM_OP(GatherND) FM_OP(ScatterND) FM_OP(ScatterElements)
FM_OP(ArgMax) FM_OP(ArgMin) FM_OP(ReduceL1) FM_OP(ReduceL2) FM_OP(ReduceLogSum) FM_OP(ReduceLogSumExp)
FM_OP(ReduceMax) FM_OP(ReduceMean) FM_OP(ReduceMin) FM_OP(ReduceProd) FM_OP(ReduceSum) FM_OP(ReduceSumSquare)
FM_OP(CumSum) FM_OP(NonZero) FM_OP(TopK)
/* passes/compose.c */
FM_OP(DequantizeLinear) FM_OP(GRU) FM_OP(LRN) FM_OP(LSTM) FM_OP(QuantizeLinear) FM_OP(RNN)
FM_OP(ms_gelu) FM_OP(ms_bias_gelu) FM_OP(ms_fast_gelu) FM_OP(ms_quick_gelu) FM_OP(ms_skip_norm) FM_OP(ms_skip_rms_norm)
FM_OP(ms_embed_norm) FM_OP(ms_fused_matmul) FM_OP(ms_fused_gemm) FM_OP(ms_fused_conv) FM_OP(ms_attention) FM_OP(ms_multi_head)
/* rearrange.c, resize.c */
FM_OP(DepthToSpace) FM_OP(Pad) FM_OP(SpaceToDepth) FM_OP(Resize)
