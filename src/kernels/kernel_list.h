/* Every kernel row, family by family, the reference row first: FM_ROW(x) refers to `const fm_row fm_row_x`, defined in
 * the family's .c.  No include guard: included with FM_ROW defined. */
FM_ROW(matmul_reference)
FM_ROW(matmul_texture_reference)
FM_ROW(matmul_cpu)
FM_ROW(conv_reference)
FM_ROW(conv_texture_reference)
FM_ROW(conv_cpu)
FM_ROW(conv_group_reference)
FM_ROW(conv_transpose_reference)
FM_ROW(batch_matmul_reference)
FM_ROW(elementwise_reference)
FM_ROW(elementwise_cpu)
FM_ROW(elementwise_cpu_lanes)
