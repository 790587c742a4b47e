/* The picture of `profile --check`: a point per launch, measured seconds across, predicted seconds up, both logarithmic.
 * On the diagonal a prediction is right; the band is 20 % around it. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "console.h"
#include "output.h"
#include "profile_check.h"

enum { LEFT = 70, TOP = 60, SIDE = 560, LEGEND = 190 };

typedef struct axis {
    int from, to; /* powers of ten of seconds */
} axis;

/* Told apart without colour, too. */
static const struct {
    const char *colour, *shape;
} marks[FLASHMEM_COST_CLASSES] = {
    [FLASHMEM_COST_MATMUL] = { "#1f5fa8", "circle" },       [FLASHMEM_COST_CONV] = { "#c2571a", "square" },
    [FLASHMEM_COST_BATCH_MATMUL] = { "#2e8b57", "circle" }, [FLASHMEM_COST_ATTENTION] = { "#8b2f8b", "diamond" },
    [FLASHMEM_COST_NORM] = { "#b8860b", "triangle" },       [FLASHMEM_COST_ELEMENTWISE] = { "#606060", "cross" },
    [FLASHMEM_COST_GATHER] = { "#c0245c", "square" },
};

static double place(const axis *a, double seconds) {
    return SIDE * (log10(fmax(seconds, 1e-9)) - a->from) / (a->to - a->from);
}
static double x_of(const axis *a, double seconds) { return LEFT + place(a, seconds); }
static double y_of(const axis *a, double seconds) { return TOP + SIDE - place(a, seconds); }

/* XML text; what is no ASCII is left out, names of files need not be UTF-8. */
static void put_text(FILE *to, const char *text) {
    for (; *text; text++) {
        if (*text == '&') fputs("&amp;", to);
        else if (*text == '<') fputs("&lt;", to);
        else if (*text == '>') fputs("&gt;", to);
        else if (*text == '"') fputs("&quot;", to);
        else if (*text >= ' ' && *text <= '~') fputc(*text, to);
    }
}

static void put_mark(FILE *to, uint32_t cost_class, double x, double y) {
    const char *shape = marks[cost_class].shape, *colour = marks[cost_class].colour;
    if (!strcmp(shape, "circle"))
        fprintf(to, "<circle cx='%.1f' cy='%.1f' r='3.2' fill='%s' fill-opacity='.55'/>", x, y, colour);
    else if (!strcmp(shape, "square"))
        fprintf(to, "<rect x='%.1f' y='%.1f' width='5.6' height='5.6' fill='%s' fill-opacity='.55'/>", x - 2.8, y - 2.8,
                colour);
    else if (!strcmp(shape, "diamond"))
        fprintf(to, "<path d='M%.1f %.1fl4 4-4 4-4-4z' fill='%s' fill-opacity='.55'/>", x, y - 4, colour);
    else if (!strcmp(shape, "triangle"))
        fprintf(to, "<path d='M%.1f %.1fl3.8 6.6h-7.6z' fill='%s' fill-opacity='.55'/>", x, y - 4, colour);
    else fprintf(to, "<path d='M%.1f %.1fl6 6m0-6l-6 6' stroke='%s' stroke-width='1.4'/>", x - 3, y - 3, colour);
}

static const char *unit_label(int power, char *buffer, size_t bytes) {
    static const char *const units[] = { "ns", "us", "ms", "s" };
    int                      unit = power < -6 ? 0 : power < -3 ? 1 : power < 0 ? 2 : 3;
    snprintf(buffer, bytes, "%.0f %s", pow(10, power + 9 - 3 * unit), units[unit]);
    return buffer;
}

static void put_grid(FILE *to, const axis *a) {
    char label[32];
    for (int power = a->from; power <= a->to; power++) {
        double at = pow(10, power), x = x_of(a, at), y = y_of(a, at);
        unit_label(power, label, sizeof label);
        fprintf(to,
                "<path d='M%.1f %dv%d M%d %.1fh%d' stroke='#ddd'/><text x='%.1f' y='%d' text-anchor='middle'>%s</text>"
                "<text x='%d' y='%.1f' text-anchor='end'>%s</text>\n",
                x, TOP, SIDE, LEFT, y, SIDE, x, TOP + SIDE + 18, label, LEFT - 8, y + 4, label);
    }
    double low = pow(10, a->from), high = pow(10, a->to);
    fprintf(to,
            "<clipPath id='frame'><rect x='%d' y='%d' width='%d' height='%d'/></clipPath><g clip-path='url(#frame)'>"
            "<path d='M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fz' fill='#eef3e6'/>"
            "<path d='M%.1f %.1fL%.1f %.1f' stroke='#444' fill='none'/></g>\n",
            LEFT, TOP, SIDE, SIDE, x_of(a, low), y_of(a, low * 1.2), x_of(a, high), y_of(a, high * 1.2), x_of(a, high),
            y_of(a, high * 0.8), x_of(a, low), y_of(a, low * 0.8), x_of(a, low), y_of(a, low), x_of(a, high),
            y_of(a, high));
    fprintf(to, "<rect x='%d' y='%d' width='%d' height='%d' fill='none' stroke='#444'/>\n", LEFT, TOP, SIDE, SIDE);
    fprintf(to,
            "<text x='%d' y='%d' text-anchor='middle'>measured</text><text transform='translate(16 %d) rotate(-90)' "
            "text-anchor='middle'>predicted</text>\n",
            LEFT + SIDE / 2, TOP + SIDE + 38, TOP + SIDE / 2);
}

static void put_legend(FILE *to, const cli_check *checks, uint32_t count) {
    int      y = TOP + 10, x = LEFT + SIDE + 20;
    uint32_t used[FLASHMEM_COST_CLASSES] = { 0 };
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < checks[i].count; k++) used[checks[i].launches[k].cost_class]++;
    for (uint32_t c = 0; c < FLASHMEM_COST_CLASSES; c++) {
        if (!used[c]) continue;
        put_mark(to, c, x, y);
        fprintf(to, "<text x='%d' y='%d'>%s (%u)</text>\n", x + 12, y + 4, flashmem_cost_class_name(c), used[c]);
        y += 20;
    }
    y += 14;
    for (uint32_t i = 0; i < count; i++, y += 34) {
        fprintf(to, "<text x='%d' y='%d'>", x - 4, y);
        put_text(to, checks[i].model);
        fprintf(to, "</text><text x='%d' y='%d' fill='#555'>%.1f ms, predicted %.1f</text>\n", x - 4, y + 14,
                checks[i].measured * 1e3, checks[i].predicted * 1e3);
    }
}

static axis axis_of(const cli_check *checks, uint32_t count) {
    double low = 1e9, high = 1e-9;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < checks[i].count; k++) {
            const cli_check_launch *l = &checks[i].launches[k];
            low = fmin(low, fmin(l->measured, l->predicted));
            high = fmax(high, fmax(l->measured, l->predicted));
        }
    axis a = { (int)floor(log10(fmax(fmin(low, 1), 1e-9))), (int)ceil(log10(fmin(fmax(high, 1e-8), 1e4))) };
    if (a.to <= a.from) a.to = a.from + 1;
    return a;
}

static void put_picture(FILE *to, const cli_check *checks, uint32_t count, const char *device) {
    axis a = axis_of(checks, count);
    int  width = LEFT + SIDE + 20 + LEGEND, rows = TOP + 60 + 20 * FLASHMEM_COST_CLASSES + 34 * (int)count;
    int  height = rows > TOP + SIDE + 56 ? rows : TOP + SIDE + 56;
    fprintf(to,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' "
            "font-family='sans-serif' font-size='12'><title>Kernel times</title><rect width='100%%' height='100%%' "
            "fill='white'/>\n<text x='%d' y='24' font-size='16'>Kernel times: predicted by the device profile, and "
            "measured</text><text x='%d' y='42' fill='#555'>",
            width, height, width, height, LEFT, LEFT);
    put_text(to, device);
    fputs("; a point per launch, band of 20 %</text>\n", to);
    put_grid(to, &a);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < checks[i].count; k++) {
            const cli_check_launch *l = &checks[i].launches[k];
            put_mark(to, l->cost_class, x_of(&a, l->measured), y_of(&a, l->predicted));
            fputc('\n', to);
        }
    put_legend(to, checks, count);
    fputs("</svg>\n", to);
}

int cli_check_draw(const char *path, const cli_check *checks, uint32_t count, const char *device) {
    cli_output     output;
    flashmem_error error = { 0 };
    if (!cli_output_begin(&output, path, &error)) return cli_fail(&error);
    errno = 0;
    FILE *to = fopen(output.temporary, "w");
    bool  ok = to != NULL;
    if (to) put_picture(to, checks, count, device);
    if (to && (ferror(to) | fclose(to))) ok = false;
    return cli_output_end(&output, path, ok, &error) ? 0 : cli_fail(&error);
}
