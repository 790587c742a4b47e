set(FM_COMPILE_SOURCES)
list(APPEND FM_COMPILE_SOURCES
    src/compile/graph/attr.c
    src/compile/graph/convert.c
    src/compile/graph/graph.c
    src/compile/graph/recipe.c
    src/compile/graph/recipe_read.c
    src/compile/graph/recipe_reshape.c
    src/compile/graph/source.c
    src/compile/graph/verify.c)
