#!/bin/sh
# libnexus refers to no function that mlx-c got after 0.6.0.
#   since.sh LIBNEXUS
later="mlx_distributed_group_new mlx_distributed_group_free mlx_fft_fftfreq mlx_fft_rfftfreq
mlx_node_namer_new mlx_node_namer_free mlx_node_namer_set_name mlx_node_namer_get_name
mlx_export_to_dot mlx_print_graph mlx_load_gguf mlx_save_gguf mlx_io_gguf_new mlx_io_gguf_free
mlx_io_gguf_get_keys mlx_io_gguf_get_array mlx_io_gguf_get_metadata_array
mlx_io_gguf_get_metadata_string mlx_io_gguf_get_metadata_vector_string mlx_io_gguf_has_metadata_array
mlx_io_gguf_has_metadata_string mlx_io_gguf_has_metadata_vector_string mlx_io_gguf_set_array
mlx_io_gguf_set_metadata_array mlx_io_gguf_set_metadata_string
mlx_io_gguf_set_metadata_vector_string mlx_slice_update_add mlx_slice_update_max
mlx_slice_update_min mlx_slice_update_prod"
used=$(nm -u "$1" | awk '{ sub(/^_/, "", $NF); print $NF }' | grep '^mlx_\|^nexus_engine_')
[ -n "$used" ] || { echo "since: $1 refers to no function of mlx-c: nothing was tested" >&2; exit 1; }
status=0
for name in $later nexus_engine_get; do
    if echo "$used" | grep -qx "$name"; then
        echo "since: libnexus refers to $name, which mlx-c 0.6.0 does not have" >&2
        status=1
    fi
done
exit $status
