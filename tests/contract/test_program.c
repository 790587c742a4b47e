/* The builder builds what the verifier accepts; the verifier rejects every single kind of damage, each by its reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tests/base/cmocka_setup.h"
#include "tests/contract/sample_pack.h"

/* Records of a program are const; the sample's lie in its builder, which may write. */
static fm_value *value(sample *s, uint32_t i) { return &s->builder.values[i]; }
static fm_step  *step(sample *s, uint32_t i) { return &s->builder.steps[i]; }
static fm_arg  *arg(sample *s, uint32_t st, uint32_t a) { return &s->builder.args[s->builder.steps[st].first_arg + a]; }
static uint32_t number(sample *s, int64_t x) { return fm_builder_int(&s->builder, x); }

enum { EMBED, SMALL, NORM, HEAD };

#define DAMAGE(name, ...) \
    static void name(sample *s) { __VA_ARGS__; }
DAMAGE(expr_kind, s->builder.exprs[2].kind = 9)
DAMAGE(expr_operand, s->builder.exprs[2].a = 1)
DAMAGE(no_outputs, s->builder.output_count = 0)
DAMAGE(no_steps, s->builder.step_count = 0)
DAMAGE(string_end, s->builder.strings[s->builder.string_bytes - 1] = 'x')
DAMAGE(weight_name, s->weights[1].name = 1 << 20)
DAMAGE(weight_kind, s->weights[1].kind = 3)
DAMAGE(weight_format, s->weights[1].format = 3)
DAMAGE(weight_flags, s->weights[1].flags = 1)
DAMAGE(weight_empty, s->weights[3].bytes = 0)
DAMAGE(weight_object, s->weights[3].object = 2)
DAMAGE(weight_outside, s->weights[3].object_offset = s->objects[1].bytes)
DAMAGE(weight_wraps, s->weights[3].object_offset = UINT64_MAX - 511)
DAMAGE(weight_misaligned, s->weights[3].object_offset -= 64)
DAMAGE(weight_intrudes, s->weights[3].object = 0)
DAMAGE(panel_bytes, s->weights[1].panel_bytes += 64)
DAMAGE(panel_count, s->weights[1].panels--)
DAMAGE(panels_exceed, s->weights[2].bytes -= 64)
DAMAGE(panel_unit, s->weights[1].unit_panels = 0)
DAMAGE(panel_unit_size, s->weights[1].unit_panels = 2)
DAMAGE(panel_n, s->weights[1].n = 0)
DAMAGE(panel_k, s->weights[1].k = 0)
DAMAGE(rows_in_object, s->weights[0].object = 0)
DAMAGE(rows_short, s->weights[0].row_bytes = 128)
DAMAGE(rows_many, s->weights[0].k = UINT64_MAX / 2)
DAMAGE(rows_bytes, s->weights[0].bytes--)
DAMAGE(object_size, s->objects[1].bytes += 64; s->objects[1].unit_bytes += 64)
DAMAGE(object_unit, s->objects[1].unit_bytes = 0)
DAMAGE(object_bundle_units, s->objects[1].bytes *= 2)
DAMAGE(object_weight, s->objects[0].weight = 7)
DAMAGE(object_other_weight, s->objects[0].weight = 2)
DAMAGE(object_reserved, s->objects[0].reserved = 1)
DAMAGE(value_kind, value(s, s->hidden)->kind = 99)
DAMAGE(value_dtype, value(s, s->hidden)->dtype = 99)
DAMAGE(value_size, value(s, s->hidden)->bytes = number(s, 0))
DAMAGE(value_size_index, value(s, s->hidden)->bytes = 5000)
DAMAGE(value_name, value(s, s->hidden)->name = 1 << 20)
DAMAGE(value_flags, value(s, s->hidden)->flags = 2)
DAMAGE(value_weight, value(s, s->hidden)->weight = 0)
DAMAGE(value_weight_index, value(s, arg(s, SMALL, 1)->value)->weight = 4)
DAMAGE(value_weight_size, value(s, arg(s, SMALL, 1)->value)->bytes = number(s, 1 << 30))
DAMAGE(value_blob, value(s, s->eps)->blob = 64)
DAMAGE(value_blob_align, value(s, s->eps)->blob = 1)
DAMAGE(value_rank, value(s, s->out)->shape_rank = 9)
DAMAGE(value_shape, value(s, s->out)->shape[1] = number(s, 77))
DAMAGE(value_shape_index, value(s, s->out)->shape[1] = 5000)
DAMAGE(value_alias_kind, value(s, s->hidden)->alias = s->rows)
DAMAGE(value_alias_index, value(s, s->out)->alias = 999)
DAMAGE(value_alias_self, value(s, s->out)->alias = s->out)
DAMAGE(value_alias_weight, value(s, s->out)->alias = arg(s, SMALL, 1)->value)
DAMAGE(value_alias_small, value(s, s->out)->alias = s->hidden)
DAMAGE(input_index, s->builder.inputs[0] = 4000)
DAMAGE(input_kind, s->builder.inputs[0] = s->hidden)
DAMAGE(input_unlisted, s->builder.input_count = 0)
DAMAGE(input_unnamed, value(s, s->ids)->name = FM_NONE)
DAMAGE(output_twice, fm_builder_output(&s->builder, s->out))
DAMAGE(kernel_text, s->builder.kernels[0].entry = 1 << 20)
DAMAGE(kernel_needs, s->builder.kernels[0].needs = 64)
DAMAGE(step_kind, step(s, HEAD)->kind = 3)
DAMAGE(step_kernel, step(s, HEAD)->kernel = 2)
DAMAGE(step_name, step(s, HEAD)->name = 1 << 20)
DAMAGE(step_args, step(s, HEAD)->arg_count = 200)
DAMAGE(step_args_wrap, step(s, HEAD)->first_arg = UINT32_MAX)
DAMAGE(step_global, step(s, NORM)->global[1] = number(s, 0))
DAMAGE(step_global_index, step(s, NORM)->global[1] = 5000)
DAMAGE(step_local_partly, step(s, NORM)->local[1] = FM_NONE)
DAMAGE(step_local_divides, step(s, NORM)->local[0] = number(s, 3))
DAMAGE(step_cost, step(s, NORM)->cost_class = FLASHMEM_COST_CLASSES)
DAMAGE(step_flops, step(s, NORM)->flops = number(s, -1))
DAMAGE(arg_kind, arg(s, NORM, 0)->kind = 7)
DAMAGE(arg_value, arg(s, NORM, 0)->value = 4000)
DAMAGE(arg_int, arg(s, SMALL, 4)->value = number(s, INT64_C(1) << 31))
DAMAGE(arg_int_index, arg(s, SMALL, 4)->value = 4000)
DAMAGE(arg_reads_table, arg(s, NORM, 0)->value = arg(s, EMBED, 1)->value)
DAMAGE(arg_image_dense, arg(s, NORM, 0)->kind = FM_ARG_IMAGE)
DAMAGE(arg_writes_input, arg(s, NORM, 3)->value = s->ids)
DAMAGE(arg_writes_weight, arg(s, NORM, 3)->value = arg(s, SMALL, 1)->value)
DAMAGE(arg_panels_unsplit, step(s, HEAD)->split_value = FM_NONE)
DAMAGE(split_value, step(s, HEAD)->split_value = s->hidden)
DAMAGE(split_dense, step(s, HEAD)->split_value = arg(s, SMALL, 2)->value)
DAMAGE(split_unused, arg(s, HEAD, 1)->value = arg(s, SMALL, 1)->value)
DAMAGE(split_no_panels, arg(s, HEAD, 5)->kind = FM_ARG_FLOAT)
DAMAGE(split_dim, step(s, HEAD)->split_dim = 3)
DAMAGE(split_zero, step(s, HEAD)->split_panels = 0)
DAMAGE(split_global, step(s, HEAD)->split_scale = 4)
DAMAGE(split_local, uint32_t two = number(s, 2);
       for (int d = 0; d < 3; d++) step(s, HEAD)->local[d] = d ? number(s, 1) : two)
DAMAGE(split_in_place, arg(s, SMALL, 3)->value = arg(s, SMALL, 0)->value)
DAMAGE(rows_kernel, step(s, EMBED)->kernel = 0)
DAMAGE(rows_arg_order, arg(s, EMBED, 2)->kind = FM_ARG_READ)
DAMAGE(rows_no_table, arg(s, EMBED, 1)->value = arg(s, SMALL, 1)->value)
DAMAGE(rows_index_type, value(s, s->ids)->dtype = FLASHMEM_U64)
DAMAGE(rows_too_many, arg(s, EMBED, 3)->value = number(s, SAMPLE_TOKENS + 1))
DAMAGE(rows_none, arg(s, EMBED, 3)->value = number(s, 0))
DAMAGE(rows_out_type, value(s, s->rows)->dtype = FLASHMEM_I32)
DAMAGE(read_before_write, arg(s, SMALL, 0)->value = s->hidden; arg(s, SMALL, 3)->value = s->rows)
DAMAGE(write_after_read, arg(s, NORM, 3)->value = s->rows; arg(s, HEAD, 0)->value = s->hidden)
DAMAGE(scratch_of_two, arg(s, HEAD, 0)->value = arg(s, NORM, 2)->value)
DAMAGE(scratch_written_twice, arg(s, SMALL, 3)->value = arg(s, NORM, 2)->value; arg(s, NORM, 0)->value = s->rows)
DAMAGE(output_unwritten,
       uint32_t other = fm_builder_value(&s->builder, FM_VALUE_ACTIVATION, FLASHMEM_F32, 64, NULL, NULL);
       arg(s, HEAD, 2)->value = other)

typedef struct damage {
    const char *name;
    void (*apply)(sample *s);
    const char *message;
} damage;

#define ROW(name, message) \
    { #name, name, message }
static const damage damages[] = {
    ROW(expr_kind, "expression 2"),
    ROW(expr_operand, "expression 2"),
    ROW(no_outputs, "0 outputs"),
    ROW(no_steps, "0 steps"),
    ROW(string_end, "last string"),
    ROW(weight_name, "weight 1: name"),
    ROW(weight_kind, "weight 1: kind"),
    ROW(weight_format, "weight 1: kind"),
    ROW(weight_flags, "weight 1: kind"),
    ROW(weight_empty, "weight 3: kind"),
    ROW(weight_object, "weight 3: object 2 of 2"),
    ROW(weight_outside, "exceed object"),
    ROW(weight_wraps, "exceed object"),
    ROW(weight_misaligned, "no multiple of 512"),
    ROW(weight_intrudes, "which holds weight 1 alone"),
    ROW(panel_bytes, "panels of"),
    ROW(panel_count, "panels for n"),
    ROW(panels_exceed, "its panels exceed"),
    ROW(panel_unit, "a cut unit of 0"),
    ROW(panel_unit_size, "bytes per checksum"),
    ROW(panel_n, "panels for n"),
    ROW(panel_k, "panels of"),
    ROW(rows_in_object, "read by row and in object"),
    ROW(rows_short, "weight 0: 40 rows"),
    ROW(rows_many, "rows of"),
    ROW(rows_bytes, "weight 0: 40 rows"),
    ROW(object_size, "object 1:"),
    ROW(object_unit, "bytes per checksum"),
    ROW(object_bundle_units, "a bundle has one"),
    ROW(object_weight, "which holds weight 7 alone"),
    ROW(object_other_weight, "which holds weight 2 alone"),
    ROW(object_reserved, "object 0:"),
    ROW(value_kind, "kind 99"),
    ROW(value_dtype, "type 99"),
    ROW(value_size, "no size"),
    ROW(value_size_index, "no size"),
    ROW(value_name, "name outside"),
    ROW(value_flags, "flags 2"),
    ROW(value_weight, "with a weight"),
    ROW(value_weight_index, "weight 4 of 4"),
    ROW(value_weight_size, "larger than its weight"),
    ROW(value_blob, "constant of 4 bytes at 64"),
    ROW(value_blob_align, "constant of 4 bytes at 1"),
    ROW(value_rank, "9 axes"),
    ROW(value_shape, "its shape needs"),
    ROW(value_shape_index, "axis 1 has no size"),
    ROW(value_alias_kind, "and an alias"),
    ROW(value_alias_index, "alias 999"),
    ROW(value_alias_self, "alias"),
    ROW(value_alias_weight, "has no storage"),
    ROW(value_alias_small, "larger than its alias"),
    ROW(input_index, "input 0: value 4000 is none"),
    ROW(input_kind, "is none"),
    ROW(input_unlisted, "not listed"),
    ROW(input_unnamed, "no name"),
    ROW(output_twice, "listed twice"),
    ROW(kernel_text, "kernel 0: texts"),
    ROW(kernel_needs, "needs 0x40"),
    ROW(step_kind, "kind 3"),
    ROW(step_kernel, "kernel 2 of 2"),
    ROW(step_name, "step 3: name"),
    ROW(step_args, "arguments"),
    ROW(step_args_wrap, "arguments"),
    ROW(step_global, "global size 1"),
    ROW(step_global_index, "global size 1"),
    ROW(step_local_partly, "local size"),
    ROW(step_local_divides, "does not divide"),
    ROW(step_cost, "cost class"),
    ROW(step_flops, "cost class"),
    ROW(arg_kind, "of kind 7"),
    ROW(arg_value, "value 4000 of"),
    ROW(arg_int, "no 32-bit"),
    ROW(arg_int_index, "no 32-bit"),
    ROW(arg_reads_table, "a table read by row"),
    ROW(arg_image_dense, "which has no panels"),
    ROW(arg_writes_input, "argument 3 writes value"),
    ROW(arg_writes_weight, "argument 3 writes value"),
    ROW(arg_panels_unsplit, "no split weight"),
    ROW(split_value, "which is no weight"),
    ROW(split_dense, "has no panels"),
    ROW(split_unused, "splittable with 0 weight"),
    ROW(split_no_panels, "0 panels arguments"),
    ROW(split_dim, "dimension 3"),
    ROW(split_zero, "0 panels, scale"),
    ROW(split_global, "global size"),
    ROW(split_local, "local size does not divide the split"),
    ROW(split_in_place, "which it reads"),
    ROW(rows_kernel, "gather rows takes"),
    ROW(rows_arg_order, "gather rows takes"),
    ROW(rows_no_table, "no table read by row"),
    ROW(rows_index_type, "indices of type"),
    ROW(rows_too_many, "exceed indices or output"),
    ROW(rows_none, "0 rows"),
    ROW(rows_out_type, "rows of float32"),
    ROW(read_before_write, "which no step has written"),
    ROW(write_after_read, "which step 1 has read"),
    ROW(scratch_of_two, "scratch"),
    ROW(scratch_written_twice, "belongs to step"),
    ROW(output_unwritten, "never written"),
};

static flashmem_status verify(sample *s, flashmem_error *err) {
    fm_program program = fm_builder_program(&s->builder);
    return fm_program_verify(&program, s->weights, 4, s->objects, 2, err);
}

static void test_program__builder_builds_a_valid_program(void **state) {
    (void)state;
    fm_arena      *arena = fm_arena_create();
    flashmem_error err = { 0 };
    sample         s;
    sample_init(&s, arena);
    assert_int_equal(verify(&s, &err), FLASHMEM_OK);
    assert_string_equal(err.message, "");
    assert_string_equal(fm_program_string(&s.program, s.program.steps[HEAD].name), "head");
    assert_string_equal(fm_program_string(&s.program, FM_NONE), "");
    assert_int_equal(s.program.steps[HEAD].arg_count, 6);
    assert_int_equal(s.program.steps[EMBED].arg_count, 4);
    assert_int_equal(fm_program_expr(&s.program, s.program.steps[HEAD].global[0]), SAMPLE_N / 16 / 2 * 3);
    assert_memory_equal(s.program.blob, &(float){ 1e-5f }, 4);
    fm_arena_destroy(arena);
}

static void test_program__every_damage_is_rejected(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        fm_arena      *arena = fm_arena_create();
        flashmem_error err = { 0 };
        sample         s;
        sample_init(&s, arena);
        damages[i].apply(&s);
        flashmem_status status = verify(&s, &err);
        if (status != FLASHMEM_BAD_PACK || !strstr(err.message, damages[i].message)) {
            print_error("%s: status %d, message '%s', wanted '%s'\n", damages[i].name, status, err.message,
                        damages[i].message);
            wrong++;
        }
        fm_arena_destroy(arena);
    }
    assert_int_equal(wrong, 0);
}

static void test_builder__deduplicates_in_linear_time(void **state) {
    (void)state;
    fm_arena          *arena = fm_arena_create();
    fm_program_builder b;
    char               text[32];
    fm_builder_init(&b, arena);
    uint32_t strings[5000], ints[5000];
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "name %d", i);
        strings[i] = fm_builder_string(&b, text);
        ints[i] = fm_builder_int(&b, (int64_t)i * i * i - 9);
    }
    size_t bytes = b.string_bytes, exprs = b.expr_count;
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "name %d", i);
        assert_int_equal(fm_builder_string(&b, text), strings[i]);
        assert_int_equal(fm_builder_int(&b, (int64_t)i * i * i - 9), ints[i]);
        assert_string_equal(b.strings + strings[i], text);
    }
    assert_int_equal(b.string_bytes, bytes);
    assert_int_equal(b.expr_count, exprs);
    assert_int_equal(exprs, 5000);
    uint32_t kernel = fm_builder_kernel(&b, "a.cl", NULL, "f", 1);
    assert_int_equal(fm_builder_kernel(&b, "a.cl", "", "f", 1), kernel);
    assert_int_not_equal(fm_builder_kernel(&b, "a.cl", "", "f", 0), kernel);
    uint64_t data[3] = { 1, 2, 3 };
    uint32_t c0 = fm_builder_constant(&b, FLASHMEM_I64, data, 24), c1 = fm_builder_constant(&b, FLASHMEM_I64, data, 8);
    assert_int_equal(b.values[c0].blob, 0);
    assert_int_equal(b.values[c1].blob, 64);
    assert_int_equal(b.blob_bytes, 72);
    fm_arena_destroy(arena);
}

/* A step that no kernel runs: reads the hidden activations and a bias, makes something of its own. */
static void add_planned(sample *s, const char *name, const char *op) {
    fm_program_builder *b = &s->builder;
    uint32_t            made = fm_builder_value(b, FM_VALUE_ACTIVATION, FLASHMEM_F32, 64, NULL, NULL);
    fm_builder_planned(b, name, op, FLASHMEM_COST_ELEMENTWISE);
    fm_builder_read(b, s->hidden);
    fm_builder_read(b, b->args[b->steps[SMALL].first_arg + 2].value);
    fm_builder_write(b, made);
    fm_builder_work(b, 10, 20);
    fm_builder_end(b);
}

static void test_planned__programs_are_for_plans(void **state) {
    (void)state;
    fm_arena      *arena = fm_arena_create();
    flashmem_error err = { 0 };
    sample         s;
    sample_init(&s, arena);
    assert_int_equal(fm_program_check_runnable(&s.program, &err), FLASHMEM_OK);
    add_planned(&s, "strange", "NonZero");
    fm_program p = fm_builder_program(&s.builder);
    assert_int_equal(verify(&s, &err), FLASHMEM_BAD_PACK);
    assert_string_equal(err.message, "planned only: no kernel runs NonZero ('strange')");
    assert_int_equal(fm_program_verify_planned(&p, s.weights, 4, s.objects, 2, &err), FLASHMEM_OK);
    for (int i = 0; i < 4; i++) add_planned(&s, "other", "Conv");
    p = fm_builder_program(&s.builder);
    fm_error_clear(&err);
    assert_int_equal(fm_program_check_runnable(&p, &err), FLASHMEM_UNSUPPORTED);
    assert_string_equal(err.message, "planned only: no kernel runs NonZero ('strange'), Conv ('other'), Conv ('other'), "
                                     "Conv ('other') and 1 more");
    assert_int_equal(fm_program_verify_planned(&p, s.weights, 4, s.objects, 2, &err), FLASHMEM_OK);
    fm_arena_destroy(arena);
}

static void test_planned__damage_is_rejected(void **state) {
    (void)state;
    enum { PLANNED = HEAD + 1, WAYS = 5 };
    static const char *const says[WAYS] = { "no operator", "is a number", "writes nothing", "table read by row",
                                            "which no step has written" };
    for (int way = 0; way < WAYS; way++) {
        fm_arena      *arena = fm_arena_create();
        flashmem_error err = { 0 };
        sample         s;
        sample_init(&s, arena);
        add_planned(&s, "strange", "NonZero");
        fm_arg *args = arg(&s, PLANNED, 0);
        if (way == 0) step(&s, PLANNED)->kernel = 1 << 20;
        if (way == 1) args[0].kind = FM_ARG_FLOAT;
        if (way == 2) args[2].kind = FM_ARG_READ, args[2].value = s.hidden;
        if (way == 3) args[1].value = arg(&s, EMBED, 1)->value;
        if (way == 4) args[0].value = args[2].value;
        fm_program p = fm_builder_program(&s.builder);
        assert_int_equal(fm_program_verify_planned(&p, s.weights, 4, s.objects, 2, &err), FLASHMEM_BAD_PACK);
        if (!strstr(err.message, says[way])) fail_msg("'%s' lacks '%s'", err.message, says[way]);
        fm_arena_destroy(arena);
    }
}

/* A step half built, and what came with it, leave no trace. */
static void test_builder__rewinds_to_a_mark(void **state) {
    (void)state;
    fm_arena         *arena = fm_arena_create();
    sample            s, untouched;
    float             data = 3;
    sample_init(&s, arena);
    sample_init(&untouched, arena);
    fm_builder_marked mark = fm_builder_mark(&s.builder);
    add_planned(&s, "one", "Relu");
    fm_builder_input(&s.builder, s.ids);
    fm_builder_output(&s.builder, s.out);
    fm_builder_constant(&s.builder, FLASHMEM_F32, &data, sizeof data);
    fm_builder_begin(&s.builder, "half", fm_builder_kernel(&s.builder, "new.cl", "", "f", 0), FLASHMEM_COST_NORM);
    fm_builder_read(&s.builder, s.hidden);
    fm_builder_rewind(&s.builder, &mark);
    fm_program p = fm_builder_program(&s.builder), q = fm_builder_program(&untouched.builder);
#define SAME(table, count)                                                       \
    assert_int_equal(p.count, q.count);                                          \
    assert_memory_equal(p.table, q.table, (size_t)p.count * sizeof *p.table)
    SAME(values, value_count);
    SAME(kernels, kernel_count);
    SAME(args, arg_count);
    SAME(steps, step_count);
    SAME(inputs, input_count);
    SAME(outputs, output_count);
    SAME(blob, blob_bytes);
#undef SAME
    add_planned(&s, "one", "Relu");
    add_planned(&untouched, "one", "Relu");
    p = fm_builder_program(&s.builder), q = fm_builder_program(&untouched.builder);
    assert_memory_equal(p.args, q.args, p.arg_count * sizeof *p.args);
    assert_string_equal(fm_program_string(&p, p.steps[HEAD + 1].kernel), "Relu");
    fm_arena_destroy(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program__builder_builds_a_valid_program),
        cmocka_unit_test(test_program__every_damage_is_rejected),
        cmocka_unit_test(test_builder__deduplicates_in_linear_time),
        cmocka_unit_test(test_planned__programs_are_for_plans),
        cmocka_unit_test(test_planned__damage_is_rejected),
        cmocka_unit_test(test_builder__rewinds_to_a_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
