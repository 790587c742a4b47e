set(FM_CONTRACT_SOURCES
    src/contract/program_builder.c
    src/contract/tensor.c)
