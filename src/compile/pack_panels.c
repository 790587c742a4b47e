/* Columns of a matrix to panels.  The columns are read as they lie in the source, rows or columns first, in runs as
 * long as it has; then rearranged in tiles that stay in the first-level cache, and rounded to float16 on the way out. */
#include <assert.h>
#include <string.h>

#include "base/half.h"
#include "compile/pack.h"

enum { TILE_ROWS = 64, WIDEST_PANEL = 16 };

uint32_t fm_pack_panel_width(const fm_weight *w) {
    uint64_t element = w->format == FM_WEIGHT_F16 ? 2 : 4;
    return (uint32_t)(w->panel_bytes / (w->k * element));
}

/* tile[row][column] of `columns` columns that exist; the others are zero. */
static void gather_tile(float *tile, uint32_t width, const float *from, int64_t row_stride, int64_t column_stride,
                        uint32_t rows, uint32_t columns) {
    if (columns < width) memset(tile, 0, sizeof *tile * TILE_ROWS * width);
    if (column_stride == 1 && columns == WIDEST_PANEL) {
        for (uint32_t r = 0; r < rows; r++)
            memcpy(tile + r * WIDEST_PANEL, from + r * row_stride, WIDEST_PANEL * sizeof *tile);
        return;
    }
    if (width == WIDEST_PANEL) { /* a constant stride in the target */
        for (uint32_t c = 0; c < columns; c++)
            for (uint32_t r = 0; r < rows; r++) tile[r * WIDEST_PANEL + c] = from[c * column_stride + r * row_stride];
        return;
    }
    for (uint32_t c = 0; c < columns; c++)
        for (uint32_t r = 0; r < rows; r++) tile[r * width + c] = from[c * column_stride + r * row_stride];
}

static void write_panel(const fm_weight *w, uint32_t width, const float *from, int64_t row_stride,
                        int64_t column_stride, uint32_t columns, char *to) {
    float    tile[TILE_ROWS * WIDEST_PANEL];
    uint32_t element = w->format == FM_WEIGHT_F16 ? 2 : 4;
    for (uint64_t k = 0; k < w->k; k += TILE_ROWS) {
        uint32_t rows = w->k - k < TILE_ROWS ? (uint32_t)(w->k - k) : TILE_ROWS;
        char    *put = to + k * width * element;
        gather_tile(tile, width, from + (int64_t)k * row_stride, row_stride, column_stride, rows, columns);
        if (w->format == FM_WEIGHT_F16) fm_half_from_floats((uint16_t *)(void *)put, tile, (size_t)rows * width);
        else memcpy(put, tile, (size_t)rows * width * sizeof *tile);
    }
}

flashmem_status fm_pack_panels(const fm_lower_weight *lw, uint64_t first, uint64_t count, void *to, float *work,
                               flashmem_error *err) {
    const fm_weight *w = &lw->record;
    uint32_t         order[FM_MAX_RANK], width = fm_pack_panel_width(w);
    assert(width <= WIDEST_PANEL && w->panel_bytes == w->k * width * (w->format == FM_WEIGHT_F16 ? 2 : 4));
    uint64_t column = first * width, end = (first + count) * width < w->n ? (first + count) * width : w->n;
    int64_t  start[2] = { 0, (int64_t)column }, box[2] = { (int64_t)w->k, (int64_t)(end - column) }, strides[2];
    fm_recipe_source_order(lw->recipe, order);
    bool rows_first = order[0] == 0;
    strides[0] = rows_first ? box[1] : 1;
    strides[1] = rows_first ? 1 : box[0];
    FM_TRY(fm_recipe_read_strided(lw->recipe, start, box, FLASHMEM_F32, work, strides, err));
    for (uint64_t p = 0; p < count; p++) {
        uint64_t here = column + p * width;
        uint32_t columns = end - here < width ? (uint32_t)(end - here) : width;
        write_panel(w, width, work + (int64_t)(p * width) * strides[1], strides[0], strides[1], columns,
                    (char *)to + p * w->panel_bytes);
    }
    return FLASHMEM_OK;
}
