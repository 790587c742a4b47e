/* Operators that exporters wrote out in primitive ones: GELU, Swish, HardSwish, layer and RMS norm.  A match makes one
 * node that produces the same tensor; what it leaves without a use is pruned. */
#include <math.h>
#include <string.h>

#include "compile/ops/fused.h"
#include "compile/passes/match.h"
#include "compile/passes/passes.h"

/* --- polynomials -------------------------------------------------------------------------------------------------- */

enum { DEGREE = 3, DEPTH = 12 };
typedef struct polynomial {
    double c[DEGREE + 1];
} polynomial;

static bool multiply(const polynomial *a, const polynomial *b, polynomial *out) {
    polynomial r = { { 0 } };
    for (int i = 0; i <= DEGREE; i++)
        for (int j = 0; j <= DEGREE; j++) {
            double term = a->c[i] * b->c[j];
            if (term == 0) continue;
            if (i + j > DEGREE) return false;
            r.c[i + j] += term;
        }
    *out = r;
    return true;
}

static bool is_constant(const polynomial *p) { return p->c[1] == 0 && p->c[2] == 0 && p->c[3] == 0; }

/* What t is as a polynomial of x. */
static bool polynomial_of(fm_tensor *t, const fm_tensor *x, int depth, polynomial *out) {
    double value;
    *out = (polynomial){ { 0 } };
    t = fm_uncast(t);
    if (t == x) {
        out->c[1] = 1;
        return true;
    }
    if (fm_is_scalar(t, &value)) {
        out->c[0] = value;
        return true;
    }
    fm_node   *n = t->producer;
    polynomial a, b;
    if (!n || depth == 0 || n->op->domain[0] || n->input_count != 2 || !n->inputs[1]) return false;
    if (!strchr("AMSDP", n->op_type[0])) return false;
    if (!polynomial_of(n->inputs[0], x, depth - 1, &a) || !polynomial_of(n->inputs[1], x, depth - 1, &b)) return false;
    if (fm_is(n, "Mul")) return multiply(&a, &b, out);
    if (fm_is(n, "Add") || fm_is(n, "Sub")) {
        double sign = fm_is(n, "Add") ? 1 : -1;
        for (int i = 0; i <= DEGREE; i++) out->c[i] = a.c[i] + sign * b.c[i];
        return true;
    }
    if (!is_constant(&b)) return false;
    if (fm_is(n, "Div") && b.c[0] != 0) {
        for (int i = 0; i <= DEGREE; i++) out->c[i] = a.c[i] / b.c[0];
        return true;
    }
    if (!fm_is(n, "Pow") || (b.c[0] != 2 && b.c[0] != 3)) return false;
    *out = a;
    for (int i = 1; i < (int)b.c[0]; i++)
        if (!multiply(out, &a, out)) return false;
    return true;
}

/* Does t equal c0 + c1 x + c3 x^3? */
static bool is_polynomial(fm_tensor *t, const fm_tensor *x, double c0, double c1, double c3) {
    polynomial p;
    return polynomial_of(t, x, DEPTH, &p) && fm_is_near(p.c[0], c0) && fm_is_near(p.c[1], c1) && p.c[2] == 0 &&
           fm_is_near(p.c[3], c3);
}

/* --- activations -------------------------------------------------------------------------------------------------- */

/* A product taken apart: constant * factors[0] * factors[1] * ... */
typedef struct product {
    double     constant;
    fm_tensor *factors[4];
    uint32_t   count;
} product;

static bool take_apart(fm_tensor *t, bool root, product *p, int depth) {
    double value;
    if (fm_is_scalar(t, &value)) {
        p->constant *= value;
        return true;
    }
    fm_tensor *inner = fm_uncast(t);
    fm_node   *n = inner->producer;
    bool       divides = n && fm_is(n, "Div") && fm_is_scalar(n->inputs[1], &value) && value != 0;
    if (n && depth > 0 && (root || fm_only_use(inner)) && (fm_is(n, "Mul") || divides)) {
        if (!divides)
            return take_apart(n->inputs[0], false, p, depth - 1) && take_apart(n->inputs[1], false, p, depth - 1);
        p->constant /= value;
        return take_apart(n->inputs[0], false, p, depth - 1);
    }
    if (p->count == 4) return false;
    p->factors[p->count++] = inner;
    return true;
}

/* t = 1 + f(u): u. */
static fm_tensor *one_plus(fm_tensor *t, const char *f) {
    double   value;
    fm_node *add = fm_made_by(t, "Add");
    if (!add) return NULL;
    fm_tensor *other = fm_scalar_operand(add, &value, NULL);
    fm_node   *inner = other && value == 1 ? fm_made_by(fm_uncast(other), f) : NULL;
    return inner ? inner->inputs[0] : NULL;
}

static void make_unary(fm_graph *g, fm_tensor *out, const char *op_type, fm_tensor *x, fm_attr attr) {
    const char *name = out->producer->name;
    fm_node    *n = fm_replace_producer(g, out, fm_op_find(op_type, ""), name, &x, 1);
    if (attr.name) fm_set_attr(g, n, attr);
}

static fm_attr approximate(const char *how) {
    return (fm_attr){ .name = "approximate", .kind = FM_ATTR_STRING, .s = how };
}
static fm_attr alpha(double value) { return (fm_attr){ .name = "alpha", .kind = FM_ATTR_FLOAT, .f = (float)value }; }

/* x * gate, where the gate says which activation it is. */
static bool gated(fm_graph *g, fm_tensor *out, fm_tensor *x, fm_tensor *gate, double constant) {
    const double root_2_pi = sqrt(2 / M_PI);
    fm_tensor   *u = one_plus(gate, "Erf");
    if (u && fm_is_near(constant, 0.5) && is_polynomial(u, x, 0, M_SQRT1_2, 0)) {
        make_unary(g, out, "Gelu", x, approximate("none"));
        return true;
    }
    u = one_plus(gate, "Tanh");
    if (u && fm_is_near(constant, 0.5) && is_polynomial(u, x, 0, root_2_pi, 0.044715 * root_2_pi)) {
        make_unary(g, out, "Gelu", x, approximate("tanh"));
        return true;
    }
    fm_node   *sigmoid = fm_made_by(gate, "Sigmoid"), *clip = fm_made_by(gate, "Clip");
    polynomial p;
    if (sigmoid && constant == 1 && polynomial_of(sigmoid->inputs[0], x, DEPTH, &p) && p.c[0] == 0 && p.c[2] == 0 &&
        p.c[3] == 0 && p.c[1] != 0) {
        make_unary(g, out, "Swish", x, alpha(p.c[1]));
        return true;
    }
    double low, high;
    if (clip && clip->input_count == 3 && fm_is_scalar(clip->inputs[1], &low) && fm_is_scalar(clip->inputs[2], &high) &&
        low == 0 && high == 6 && fm_is_near(constant, 1.0 / 6) && is_polynomial(clip->inputs[0], x, 3, 1, 0)) {
        make_unary(g, out, "HardSwish", x, (fm_attr){ 0 });
        return true;
    }
    fm_node *hard = fm_made_by(gate, "HardSigmoid");
    if (hard && constant == 1 && fm_uncast(hard->inputs[0]) == x &&
        fm_is_near(fm_node_float(hard, "alpha", 0.2f), 1.0 / 6) && fm_is_near(fm_node_float(hard, "beta", 0.5f), 0.5)) {
        make_unary(g, out, "HardSwish", x, (fm_attr){ 0 });
        return true;
    }
    return false;
}

static bool activation(fm_graph *g, fm_node *n) {
    product p = { .constant = 1 };
    if (!fm_is(n, "Mul") && !fm_is(n, "Div")) return false;
    fm_tensor *out = n->outputs[0];
    if (!fm_dtype_is_float(out->dtype) || !take_apart(out, true, &p, 4) || p.count != 2) return false;
    for (uint32_t i = 0; i < 2; i++)
        if (fm_shape_equal(&p.factors[i]->shape, &out->shape) && p.factors[i]->dtype == out->dtype &&
            gated(g, out, p.factors[i], p.factors[1 - i], p.constant))
            return true;
    return false;
}

/* --- norms -------------------------------------------------------------------------------------------------------- */

/* t = x * x or x ^ 2 (in either spelling): x. */
static fm_tensor *squared(fm_tensor *t) {
    double   value;
    fm_node *mul = fm_made_by(t, "Mul"), *pow = fm_made_by(t, "Pow");
    if (mul && fm_uncast(mul->inputs[0]) == fm_uncast(mul->inputs[1])) return fm_uncast(mul->inputs[0]);
    return pow && fm_is_scalar(pow->inputs[1], &value) && value == 2 ? fm_uncast(pow->inputs[0]) : NULL;
}

/* t = sqrt(mean(y^2) + epsilon): y. */
static fm_tensor *root_mean_square(fm_tensor *t, double *epsilon) {
    fm_node *sqrt_node = fm_made_by(fm_uncast(t), "Sqrt"), *pow = fm_made_by(fm_uncast(t), "Pow");
    double   value;
    if (!sqrt_node && !(pow && fm_is_scalar(pow->inputs[1], &value) && value == 0.5)) return NULL;
    fm_node *add = fm_made_by(fm_uncast((sqrt_node ? sqrt_node : pow)->inputs[0]), "Add");
    if (!add) return NULL;
    fm_tensor *mean = fm_scalar_operand(add, epsilon, NULL);
    fm_tensor *square = mean ? fm_reduced_last(fm_uncast(mean), "ReduceMean") : NULL;
    return square ? squared(fm_uncast(square)) : NULL;
}

/* n = y / sqrt(mean(y^2) + epsilon), as a division or a product with the reciprocal: y. */
static fm_tensor *normalised(const fm_node *n, double *epsilon) {
    if (fm_is(n, "Div")) {
        fm_tensor *y = fm_uncast(n->inputs[0]);
        return root_mean_square(n->inputs[1], epsilon) == y ? y : NULL;
    }
    if (!fm_is(n, "Mul")) return NULL;
    for (uint32_t i = 0; i < 2; i++) {
        fm_tensor *y = fm_uncast(n->inputs[i]), *factor = fm_uncast(n->inputs[1 - i]);
        fm_node   *reciprocal = fm_made_by(factor, "Reciprocal"), *div = fm_made_by(factor, "Div");
        double     one;
        if (reciprocal && root_mean_square(reciprocal->inputs[0], epsilon) == y) return y;
        if (div && fm_is_scalar(div->inputs[0], &one) && one == 1 && root_mean_square(div->inputs[1], epsilon) == y)
            return y;
    }
    return NULL;
}

/* A constant vector along the last axis of `like`. */
static bool is_vector(const fm_tensor *t, const fm_tensor *like) {
    if (!t->constant || t->shape.rank == 0 || t->shape.rank > like->shape.rank) return false;
    int64_t n = like->shape.dims[like->shape.rank - 1];
    return t->shape.dims[t->shape.rank - 1] == n && fm_shape_count(&t->shape) == n;
}

/* The node after `out` when it is op_type with a constant vector (*vector); casts are looked through. */
static fm_tensor *applied(fm_tensor *out, const char *op_type, fm_tensor **vector) {
    fm_node *use = fm_only_use(out);
    while (use && fm_is(use, "Cast") && fm_dtype_is_float(use->outputs[0]->dtype)) {
        out = use->outputs[0];
        use = fm_only_use(out);
    }
    if (!use || !fm_is(use, op_type)) return NULL;
    for (uint32_t i = 0; i < 2; i++)
        if (use->inputs[i] == out && is_vector(use->inputs[1 - i], out)) {
            *vector = use->inputs[1 - i];
            return use->outputs[0];
        }
    return NULL;
}

/* d = x - mean(x) over the last axis: x. */
static fm_tensor *centred(const fm_tensor *d) {
    fm_node *sub = fm_made_by(d, "Sub");
    if (!sub) return NULL;
    fm_tensor *x = fm_uncast(sub->inputs[0]), *mean = fm_reduced_last(fm_uncast(sub->inputs[1]), "ReduceMean");
    return mean && fm_uncast(mean) == x ? x : NULL;
}

static bool norm(fm_graph *g, fm_node *n) {
    double     epsilon;
    fm_tensor *y = normalised(n, &epsilon), *inputs[4] = { NULL }, *next;
    if (!y) return false;
    fm_tensor *x = centred(y), *out = n->outputs[0];
    bool       layer = x != NULL;
    if (!layer) x = y;
    if ((next = applied(out, "Mul", &inputs[2]))) out = next;
    if (layer && (next = applied(out, "Add", &inputs[3]))) out = next;
    fm_norm_params *p = fm_arena_alloc(g->arena, sizeof *p);
    *p = (fm_norm_params){ .rms = !layer, .epsilon = (float)epsilon };
    inputs[0] = x;
    if (!fm_shape_equal(&x->shape, &out->shape) || x->dtype != out->dtype || !fm_dtype_is_float(x->dtype)) return false;
    fm_node *made = fm_replace_producer(g, out, &fm_op_fused_norm, out->producer->name, inputs, 4);
    made->params = p;
    return true;
}

flashmem_status fm_pass_recognise(fm_graph *g, flashmem_error *err) {
    (void)err;
    for (fm_node *n = g->first, *next; n; n = next) {
        next = n->next;
        bool replaced = !n->outputs[0] || n->outputs[0]->producer != n; /* a later part of a norm already made */
        if (!replaced && !activation(g, n)) norm(g, n);
    }
    fm_graph_prune(g);
    return FLASHMEM_OK;
}
