/* What the files of packing share.  Who may include: compile/pack*.c, tests. */
#ifndef FM_COMPILE_PACK_H
#define FM_COMPILE_PACK_H

#include "compile/lower.h"
#include "contract/pack.h"

#define FM_PACK_LARGE (1u << 20)        /* bytes: a weight from here on is an object of its own */
#define FM_PACK_BUNDLE (1u << 20)       /* bytes: a bundle is closed before it grows beyond */
#define FM_PACK_GAP 24u                 /* steps without a small weight that end a bundle */
#define FM_PACK_WORK (12u << 20)        /* bytes of each of the packer's two buffers */

/* pack_layout.c.  Which weight lies in which object; fills object and object_offset of l's records. */
typedef struct fm_pack_layout {
    fm_object *objects; uint32_t object_count;
    uint32_t  *members, *first_member; /* weights of object o: members[first_member[o] .. first_member[o + 1]) */
} fm_pack_layout;
flashmem_status fm_pack_lay_out(fm_lower *l, const fm_program *program, fm_pack_layout *out, flashmem_error *err);

/* pack_panels.c.  Panels [first, first + count) of a PANELS weight in their final arrangement; work holds at least
 * k * columns * 4 bytes of those panels. */
flashmem_status fm_pack_panels(const fm_lower_weight *w, uint64_t first, uint64_t count, void *to, float *work,
                               flashmem_error *err);
/* Columns of one panel. */
uint32_t fm_pack_panel_width(const fm_weight *w);

#endif
