/* softmax(scale * q k^T + mask) v:  q [B, H, S, D], k [B, Hk, T, D], v [B, Hk, T, Dv], out [B, H, S, Dv].
 *
 * mask [B, H, S, T] by strides; mask_kind: 0 none, 1 added floats, 2 bools of which 0 excludes.  Position t is seen by
 * s iff s + low < t <= s + high.  A row of which everything is excluded gives zeros.  group = H / Hk. */
#include "math.clh"
#include "views.clh"

#define ATTENTION_PARAMETERS                                                                                          \
    __global const float *q, FM_VIEW4(q), __global const float *k, FM_VIEW4(k), __global const float *v, FM_VIEW4(v), \
        __global const float *added, __global const uchar *kept, FM_VIEW4(m), __global float *out, FM_VIEW4(o),       \
        int heads, int group, int S, int T, int D, int Dv, float scale, int mask_kind, int low, int high

/* One output element: global (Dv, S, B * H).  Streams over T. */
__kernel void attention(ATTENTION_PARAMETERS) {
    int   c = (int)get_global_id(0), s = (int)get_global_id(1), h = (int)get_global_id(2) % heads;
    int   b = (int)get_global_id(2) / heads;
    float top = -INFINITY, total = 0, sum = 0;
    q += q_offset + b * q_s0 + h * q_s1 + s * q_s2;
    k += k_offset + b * k_s0 + h / group * k_s1;
    v += v_offset + b * v_s0 + h / group * v_s1 + c * v_s3;
    int mask = m_offset + b * m_s0 + h * m_s1 + s * m_s2;
    int last = (int)min((long)T, (long)s + high + 1), t = (int)max(0L, (long)s + low + 1);
    for (; t < last; t++) {
        float score = 0;
        for (int i = 0; i < D; i++) score += q[i * q_s3] * k[t * k_s2 + i * k_s3];
        score *= scale;
        if (mask_kind == 1) score += added[mask + t * m_s3];
        if (mask_kind == 2 && !kept[mask + t * m_s3]) continue;
        if (score == -INFINITY) continue;
        float next = fmax(top, score), shrink = exp(top - next), weight = exp(score - next);
        total = total * shrink + weight;
        sum = sum * shrink + weight * v[t * v_s2];
        top = next;
    }
    out[o_offset + b * o_s0 + h * o_s1 + s * o_s2 + c * o_s3] = total > 0 ? sum / total : 0.0f;
}
