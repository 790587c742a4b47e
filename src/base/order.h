/* Orders for qsort.  Anyone may include. */
#ifndef FM_BASE_ORDER_H
#define FM_BASE_ORDER_H

/* Rising doubles. */
static inline int fm_by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#endif
