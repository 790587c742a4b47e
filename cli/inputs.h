/* The arrays a run reads: given with --input, or generated with --random-inputs.  Who may include: cli. */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include "arrays.h"
#include "options.h"

/* Reads every --input.  Returns 0 or an exit code with the message printed. */
int cli_inputs_read(cli_arrays *arrays, const cli_options *options);

/* --shape texts: those given, and one per array whose input has symbolic dimensions in the model file.  Texts that are
 * made live in `storage`. */
typedef struct cli_shape_texts {
    option_LIST list;
    char        storage[64][512];
} cli_shape_texts;
int cli_inputs_shapes(cli_shape_texts *texts, const cli_arrays *arrays, const cli_options *options);

/* Checks names, types and shapes against the open model, generates what --random-inputs asks for, binds all. */
int cli_inputs_bind(cli_arrays *arrays, flashmem_model *model, const cli_options *options);

/* Writes DIR/inputs/NAME.npy for generated arrays / DIR/NAME.npy for outputs.  Characters outside letters, digits,
 * '.', '_', '-' become '_'; clashing names get a number. */
int cli_inputs_write(const cli_arrays *arrays, const char *folder);
int cli_outputs_write(const flashmem_model *model, const char *folder);

#endif
