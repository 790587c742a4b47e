"""Small networks in the idioms of other exporters (Keras and tf2onnx, quantisers, ONNX Runtime's optimiser), written in
ONNX's text form: each against ONNX Runtime, unbudgeted with fp32 weights and at the least budget with fp16 weights."""
import numpy as np
import onnx
import pytest
from models import compare
from onnx import numpy_helper, parser
from support import reference

RNG = np.random.default_rng(0)


def w(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 1)).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def scalar(value, kind=np.float32):
    return np.array(value, kind)


def norm(channels):
    """Constants s, o, m, v of a BatchNormalization."""
    return {"s": w(channels) + 1, "o": w(channels), "m": w(channels), "v": np.abs(w(channels)) + 0.5}


# name: (opset, inputs, outputs, nodes, constants)
CASES = {
    "keras-mobilenet": (13, "float[1,16,16,3] x", "float y", """
        t = Transpose<perm=[0,3,1,2]>(x)
        c = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(t, w)
        b = BatchNormalization<epsilon=0.001>(c, s, o, m, v)
        r = Clip(b, zero, six)
        d = Conv<auto_pad="SAME_UPPER", group=8>(r, dw)
        n = BatchNormalization(d, s, o, m, v)
        a = Add(n, three)
        k = Clip(a, zero, six)
        l = Mul(k, sixth)
        h = Mul(n, l)
        u = Transpose<perm=[0,2,3,1]>(h)
        g = ReduceMean<axes=[1,2], keepdims=0>(u)
        q = Reshape(g, shape)
        f = Gemm(q, fw, fb)
        y = Softmax<axis=-1>(f)""",
                        {"w": w(8, 3, 3, 3), "dw": w(8, 1, 3, 3), **norm(8), "zero": scalar(0), "six": scalar(6),
                         "three": scalar(3), "sixth": scalar(1 / 6), "shape": ints(-1, 8), "fw": w(8, 5), "fb": w(5)}),
    "keras-same-lower": (13, "float[2,15,14,3] x", "float y", """
        t = Transpose<perm=[0,3,1,2]>(x)
        c = Conv<auto_pad="SAME_LOWER", strides=[2,2], kernel_shape=[5,5]>(t, w, b)
        p = MaxPool<auto_pad="SAME_LOWER", kernel_shape=[3,3], strides=[2,2]>(c)
        a = AveragePool<auto_pad="SAME_UPPER", kernel_shape=[3,3], strides=[2,2]>(p)
        y = Transpose<perm=[0,2,3,1]>(a)""", {"w": w(8, 3, 5, 5), "b": w(8)}),
    "transpose-same": (13, "float[2,4,7,6] x", "float y, float z", """
        y = ConvTranspose<auto_pad="SAME_UPPER", strides=[3,3]>(x, w)
        z = ConvTranspose<auto_pad="SAME_LOWER", strides=[2,2]>(x, u)""", {"w": w(4, 5, 2, 2), "u": w(4, 5, 3, 3)}),
    "softmax-11": (11, "float[2,3,4,5] q, float[2,3,4,5] k", "float y", """
        t = Transpose<perm=[0,1,3,2]>(k)
        s = MatMul(q, t)
        p = Softmax<axis=1>(s)
        y = MatMul(p, k)""", {}),
    "einsum-permuted": (13, "float[2,5,8] x", "float y", 'y = Einsum<equation="bsd,hde->bhse">(x, w)',
                        {"w": w(4, 8, 6)}),
    "einsum-ellipsis": (13, "float[2,3,4] x, float[2,3,4] k", "float y, float z, float u, float v", """
        y = Einsum<equation="...ij,jk->...ik">(x, w)
        z = Einsum<equation="...i,...i->...">(x, k)
        u = Einsum<equation="...ij,jk">(x, w)
        v = Einsum<equation="b...j->j...b">(x)""", {"w": w(4, 5)}),
    "top-k": (13, "float[2,7,5] x, int64[3,9] i", "float y, int64 z, int64 u, float v", """
        y, z = TopK<axis=1>(x, k)
        u, n = TopK<largest=0>(i, k)
        a, l = TopK<axis=2, sorted=1>(x, all)
        v = GatherElements<axis=2>(x, l)""", {"k": ints(4), "all": ints(5)}),
    "lrn": (13, "float[2,8,5,4] x", "float y, float z", """
        y = LRN<size=5, alpha=0.1, beta=0.75, bias=2.0>(x)
        z = LRN<size=3>(x)""", {}),
    "lstm": (14, "float[5,2,6] x", "float y, float h, float c", """
        y, h, c = LSTM<hidden_size=7, direction="bidirectional">(x, w, r, b)""",
             {"w": w(2, 28, 6), "r": w(2, 28, 7), "b": w(2, 56)}),
    "lstm-state": (14, "float[5,2,6] x, float[1,2,7] h0, float[1,2,7] c0", "float y, float c", """
        y, h, c = LSTM<hidden_size=7, direction="reverse">(x, w, r, b, lengths, h0, c0)""",
                   {"w": w(1, 28, 6), "r": w(1, 28, 7), "b": w(1, 56), "lengths": np.array([5, 5], np.int32)}),
    "gru": (14, "float[5,2,6] x", "float y, float h, float z, float u", """
        y, h = GRU<hidden_size=7, linear_before_reset=1>(x, w, r, b)
        z, i = GRU<hidden_size=7, direction="reverse">(x, w, r, b, , h0)
        u, j = GRU<hidden_size=7, linear_before_reset=1>(x, w, r, , , h0)""",
            {"w": w(1, 21, 6), "r": w(1, 21, 7), "b": w(1, 42), "h0": w(1, 2, 7)}),
    "rnn": (14, "float[5,2,6] x", "float y, float h", """
        y, h = RNN<hidden_size=7, direction="bidirectional", activations=["Relu", "Relu"]>(x, w, r, b)""",
            {"w": w(2, 7, 6), "r": w(2, 7, 7), "b": w(2, 14)}),
    "dequantised-weights": (13, "float[3,8] x", "float y, float z", """
        a = DequantizeLinear(q, s, zero)
        y = MatMul(x, a)
        b = DequantizeLinear<axis=0>(p, t)
        n = Neg(b)
        z = MatMul(x, n)""", {"q": RNG.integers(0, 255, (8, 6)).astype(np.uint8), "s": scalar(0.02),
                              "zero": scalar(128, np.uint8), "p": RNG.integers(-100, 100, (8, 6)).astype(np.int8),
                              "t": np.abs(w(8)) + 0.01}),
    "quantised": (13, "float[3,8] x", "uint8 y, float z, int8 u", """
        y = QuantizeLinear(x, s, zero)
        z = DequantizeLinear(y, s, zero)
        u = QuantizeLinear(x, t, none)""", {"s": scalar(0.01), "zero": scalar(128, np.uint8), "t": scalar(0.005),
                                            "none": scalar(0, np.int8)}),
    "microsoft-activations": (17, "float[3,8] x", "float y, float z, float u, float v, float a", """
        y = com.microsoft.Gelu(x)
        z = com.microsoft.BiasGelu(x, b)
        u = com.microsoft.FastGelu(x, b)
        v = com.microsoft.QuickGelu<alpha=1.5>(x)
        a = com.microsoft.FastGelu(x)""", {"b": w(8)}),
    "microsoft-norms": (17, "float[2,3,8] x, float[2,3,8] k", "float y, float s, float z, float t, float u", """
        y, m, i, s = com.microsoft.SkipLayerNormalization<epsilon=0.00001>(x, k, g, b, c)
        z, n, j, t = com.microsoft.SkipSimplifiedLayerNormalization<epsilon=0.00001>(x, k, g)
        u = com.microsoft.SkipLayerNormalization<epsilon=0.00001>(x, k, g)""", {"g": w(8), "b": w(8), "c": w(8)}),
    "microsoft-embedding": (17, "int32[2,5] x, int32[2,5] type", "float y", """
        y, m = com.microsoft.EmbedLayerNormalization<epsilon=0.00001>(x, type, words, places, kinds, g, b)""",
                            {"words": w(50, 8), "places": w(9, 8), "kinds": w(2, 8), "g": w(8), "b": w(8)}),
    "microsoft-products": (17, "float[2,4,3] x, float[4,2,3] k", "float y, float z, float u", """
        y = com.microsoft.FusedMatMul<transA=1, alpha=0.5>(x, w)
        z = com.microsoft.FusedMatMul<transBatchA=1, transB=1>(k, x)
        r = Flatten(x)
        u = com.microsoft.FusedGemm<transB=1, activation="Relu">(r, f, b)""", {"w": w(4, 6), "f": w(5, 12), "b": w(5)}),
    "microsoft-conv": (17, "float[1,4,6,6] x", "float y, float z", """
        a = com.microsoft.FusedConv<pads=[1,1,1,1], activation="Relu">(x, w, b, x)
        y = com.microsoft.FusedConv<pads=[1,1,1,1], activation="LeakyRelu", activation_params=[0.2]>(a, w)
        z = com.microsoft.FusedConv<pads=[1,1,1,1], activation="Clip", activation_params=[-0.2, 0.3]>(x, w)""",
                       {"w": w(4, 4, 3, 3), "b": w(4)}),
    "microsoft-attention": (17, "float[2,5,16] x, int32[2,5] mask", "float y, float z", """
        y = com.microsoft.Attention<num_heads=4>(x, w, b, mask)
        z = com.microsoft.Attention<num_heads=4, unidirectional=1, scale=0.3>(x, w, b)""",
                            {"w": w(16, 48), "b": w(48)}),
    "microsoft-multi-head": (17, "float[2,5,16] q, float[2,7,16] k, float[2,7,8] v, int32[2,7] mask, float[1,4,5,7] p",
                             "float y, float z", """
        y = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, v, , mask)
        z = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, v, b, , p)""", {"b": w(40)}),
}


@pytest.mark.parametrize("budget,weights", [("off", "fp32"), ("min", "fp16")])
@pytest.mark.parametrize("name", CASES)
def test_composed(flashmem, tmp_path, name, budget, weights):
    opset, inputs, outputs, body, constants = CASES[name]
    nodes = "\n".join(line.strip() for line in body.strip().splitlines())
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'
                               f"g ({inputs}) => ({outputs})\n{{\n{nodes}\n}}")
    model.graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items())
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    feeds = compare.model_feeds(path, padded=True)
    got, _ = compare.run(flashmem, tmp_path / "run", path, feeds, "--budget", budget, "--weights", weights)
    compare.assert_equal_enough(got, reference(path, feeds), weights)
