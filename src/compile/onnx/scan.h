/* The wire format of an ONNX file, reduced: large payloads stay in the file and are named by range, fields that import
 * does not read are dropped, and everything that protobuf-c will see is checked for bounds, depth and wire types.
 * Who may include: compile/onnx, tests, fuzz. */
#ifndef FM_COMPILE_ONNX_SCAN_H
#define FM_COMPILE_ONNX_SCAN_H

#include "base/arena.h"
#include "base/error.h"

#define FM_ONNX_HOIST_ABOVE 4096u /* bytes of a payload that stay inline */

/* Reads the file front to back through one small buffer, skipping payloads; *data is a serialised fm_onnx.Model. */
flashmem_status fm_onnx_scan(fm_arena *arena, int fd, const char *path, uint64_t file_bytes, uint64_t hoist_above,
                             uint8_t **data, size_t *bytes, flashmem_error *err);

#endif
