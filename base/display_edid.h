/*
 * display_edid.h: what a display tells of itself (EDID 1.x): size, preferred timing, name.
 */
#ifndef NX_BASE_DISPLAY_EDID_H
#define NX_BASE_DISPLAY_EDID_H

#include "base/display.h"

/* Fills model, millimetres, and where the preferred timing is told width, height and refresh. False
 * for anything that is no EDID. */
bool nx_display_read_edid(const unsigned char *edid, size_t n, nx_display *out);

#endif
