/* The row table, and the choice: a row fits when the target has its layout and device bits and the row takes the
 * description; the last one wins, so faster rows stand below the plain ones. */
#include "kernels/rows.h"

#define FM_ROW(name) extern const fm_row fm_row_##name;
#include "kernels/kernel_list.h"
#undef FM_ROW

#define FM_ROW(name) &fm_row_##name,
const fm_row *const fm_rows[] = {
#include "kernels/kernel_list.h"
};
#undef FM_ROW

const size_t fm_row_count = sizeof fm_rows / sizeof fm_rows[0];

const char *fm_family_name(fm_family family) {
    static const char *const names[] = {
        "matmul", "batch_matmul", "conv",   "conv_transpose",  "attention", "pool",    "norm", "group_norm", "softmax",
        "reduce", "elementwise",  "gather", "gather_elements", "gather_nd", "scatter", "pad",  "cumsum",
        "top_k",  "load"
    };
    static_assert(sizeof names / sizeof names[0] == FM_FAMILIES, "a name per family");
    return names[family];
}

bool fm_row_fits(const fm_row *row, const fm_emit *e, const void *desc) {
    if (!(row->layouts & FM_LAYOUT_BIT(e->target.layout))) return false;
    if ((row->needs & e->target.device) != row->needs) return false;
    return !row->takes || row->takes(e, desc);
}

const fm_row *fm_row_choose(const fm_emit *e, fm_family family, const void *desc) {
    const fm_row *chosen = NULL;
    for (size_t i = 0; i < fm_row_count; i++)
        if (fm_rows[i]->family == family && (fm_rows[i]->reference || !e->target.reference) &&
            fm_row_fits(fm_rows[i], e, desc))
            chosen = fm_rows[i];
    return chosen;
}

flashmem_status fm_row_emit(fm_emit *e, fm_family family, const char *name, const void *desc, flashmem_error *err) {
    const fm_row *row = fm_row_choose(e, family, desc);
    if (!row)
        return fm_fail(err, FLASHMEM_UNSUPPORTED, "%s '%s': no kernel row takes its types and sizes on this target",
                       fm_family_name(family), name ? name : "");
    return row->emit(e, desc, err);
}
