/* display_linux.c: displays by RandR, and by the kernel's DRM folder. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/display.h"
#include "base/display_edid.h"
#include "base/str.h"

double nx_display_scale(int width, int width_mm)
{
    if (width <= 0 || width_mm <= 0)
        return 1;
    double scale = (int)(width * 25.4 / width_mm / 96 * 4 + 0.5) / 4.0;
    return scale < 1 ? 1 : scale > 4 ? 4 : scale;
}

/* ---- EDID ---- */

static void read_name(const unsigned char *d, nx_display *out)
{
    size_t n = 0;
    for (; n < 13 && d[5 + n] != '\n' && d[5 + n] >= 0x20 && d[5 + n] < 0x7F; n++)
        out->model[n] = (char)d[5 + n];
    out->model[n] = '\0';
}

static void read_timing(const unsigned char *d, nx_display *out)
{
    int clock = d[0] | d[1] << 8; /* 10 kHz */
    int width = d[2] | (d[4] & 0xF0) << 4, blank_x = d[3] | (d[4] & 0x0F) << 8;
    int height = d[5] | (d[7] & 0xF0) << 4, blank_y = d[6] | (d[7] & 0x0F) << 8;
    double total = (double)(width + blank_x) * (height + blank_y);
    out->width_mm = d[12] | (d[14] & 0xF0) << 4;
    out->height_mm = d[13] | (d[14] & 0x0F) << 8;
    if (!width || !height || total <= 0)
        return;
    out->width = width;
    out->height = height;
    out->refresh = clock * 10000.0 / total;
}

bool nx_display_read_edid(const unsigned char *edid, size_t n, nx_display *out)
{
    static const unsigned char head[8] = {0, 255, 255, 255, 255, 255, 255, 0};
    unsigned char sum = 0;
    if (n < 128 || memcmp(edid, head, 8) != 0)
        return false;
    for (int i = 0; i < 128; i++)
        sum = (unsigned char)(sum + edid[i]);
    if (sum)
        return false;
    out->width_mm = edid[21] * 10;
    out->height_mm = edid[22] * 10;
    for (int i = 0; i < 4; i++) {
        const unsigned char *d = edid + 54 + 18 * i;
        if (d[0] || d[1]) {
            if (i == 0)
                read_timing(d, out);
        } else if (d[3] == 0xFC) {
            read_name(d, out);
        }
    }
    return true;
}

/* ---- DRM ---- */

static size_t read_small(const char *folder, const char *entry, const char *file, void *out, size_t n)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s/%s", folder, entry, file);
    int fd = open(nx_str_cstr(&path), O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, out, n) : -1;
    if (fd >= 0)
        close(fd);
    nx_str_clear(&path);
    return got > 0 ? (size_t)got : 0;
}

/* "card0-HDMI-A-1" that is connected. */
static bool read_connector(const char *folder, const char *entry, nx_display *out)
{
    char status[32] = "", modes[32] = "";
    unsigned char edid[512];
    const char *name = strchr(entry, '-');
    if (strncmp(entry, "card", 4) != 0 || !name)
        return false;
    read_small(folder, entry, "status", status, sizeof status - 1);
    if (strncmp(status, "connected", 9) != 0)
        return false;
    *out = (nx_display){.scale = 1};
    snprintf(out->name, sizeof out->name, "%s", name + 1);
    nx_display_read_edid(edid, read_small(folder, entry, "edid", edid, sizeof edid), out);
    read_small(folder, entry, "modes", modes, sizeof modes - 1);
    int width, height;
    if (!out->width && sscanf(modes, "%dx%d", &width, &height) == 2 && width > 0 && height > 0 &&
        width < 100000 && height < 100000) {
        out->width = width;
        out->height = height;
    }
    out->scale = nx_display_scale(out->width, out->width_mm);
    return out->width > 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const nx_display *)a)->name, ((const nx_display *)b)->name);
}

/* Without a window system they are taken to stand side by side. */
static size_t ask_drm(nx_display *out, size_t most)
{
    const char *told = getenv("NEXUS_DRM"), *folder = told ? told : "/sys/class/drm";
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && n < most && (e = readdir(d));)
        n += read_connector(folder, e->d_name, &out[n]);
    if (d)
        closedir(d);
    qsort(out, n, sizeof *out, by_name);
    for (size_t i = 0, x = 0; i < n; i++) {
        out[i].x = (int)x;
        out[i].primary = i == 0;
        x += (size_t)out[i].width;
    }
    return n;
}

/* ---- X11 ---- */

#if __has_include(<X11/extensions/Xrandr.h>)
#include <X11/Xlib.h>
#include <X11/extensions/Xrandr.h>

typedef struct {
    void *x11, *randr;
    Display *(*open)(const char *);
    int (*close)(Display *);
    int (*screens)(Display *);
    Window (*root)(Display *, int);
    char *(*atom_name)(Display *, Atom);
    int (*free)(void *);
    int (*width)(Display *, int), (*height)(Display *, int);
    int (*width_mm)(Display *, int), (*height_mm)(Display *, int);
    XErrorHandler (*on_error)(XErrorHandler);
    Bool (*has_randr)(Display *, int *, int *);
    XRRMonitorInfo *(*monitors)(Display *, Window, Bool, int *);
    void (*free_monitors)(XRRMonitorInfo *);
    XRRScreenResources *(*resources)(Display *, Window);
    void (*free_resources)(XRRScreenResources *);
    XRROutputInfo *(*output)(Display *, XRRScreenResources *, RROutput);
    void (*free_output)(XRROutputInfo *);
    XRRCrtcInfo *(*crtc)(Display *, XRRScreenResources *, RRCrtc);
    void (*free_crtc)(XRRCrtcInfo *);
} x_library;

static bool load_x(x_library *l)
{
    *l = (x_library){.x11 = dlopen("libX11.so.6", RTLD_NOW | RTLD_LOCAL),
                     .randr = dlopen("libXrandr.so.2", RTLD_NOW | RTLD_LOCAL)};
    if (!l->x11 || !l->randr)
        return false;
    const struct {
        void *library;
        const char *name;
        void **at;
    } symbols[] = {
        {l->x11, "XOpenDisplay", (void **)&l->open},
        {l->x11, "XCloseDisplay", (void **)&l->close},
        {l->x11, "XScreenCount", (void **)&l->screens},
        {l->x11, "XRootWindow", (void **)&l->root},
        {l->x11, "XGetAtomName", (void **)&l->atom_name},
        {l->x11, "XFree", (void **)&l->free},
        {l->x11, "XDisplayWidth", (void **)&l->width},
        {l->x11, "XDisplayHeight", (void **)&l->height},
        {l->x11, "XDisplayWidthMM", (void **)&l->width_mm},
        {l->x11, "XDisplayHeightMM", (void **)&l->height_mm},
        {l->x11, "XSetErrorHandler", (void **)&l->on_error},
        {l->randr, "XRRQueryExtension", (void **)&l->has_randr},
        {l->randr, "XRRGetMonitors", (void **)&l->monitors},
        {l->randr, "XRRFreeMonitors", (void **)&l->free_monitors},
        {l->randr, "XRRGetScreenResourcesCurrent", (void **)&l->resources},
        {l->randr, "XRRFreeScreenResources", (void **)&l->free_resources},
        {l->randr, "XRRGetOutputInfo", (void **)&l->output},
        {l->randr, "XRRFreeOutputInfo", (void **)&l->free_output},
        {l->randr, "XRRGetCrtcInfo", (void **)&l->crtc},
        {l->randr, "XRRFreeCrtcInfo", (void **)&l->free_crtc},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        *symbols[i].at = dlsym(symbols[i].library, symbols[i].name);
        if (!*symbols[i].at)
            return false;
    }
    return true;
}

static void unload_x(x_library *l)
{
    if (l->randr)
        dlclose(l->randr);
    if (l->x11)
        dlclose(l->x11);
}

static int ignore_error(Display *d, XErrorEvent *e)
{
    return 0; /* a display that went meanwhile is left out */
}

static double refresh_of(const x_library *l, Display *d, XRRScreenResources *r, RROutput id)
{
    double hz = 0;
    XRROutputInfo *o = l->output(d, r, id);
    XRRCrtcInfo *c = o && o->crtc ? l->crtc(d, r, o->crtc) : NULL;
    for (int i = 0; c && i < r->nmode; i++) {
        const XRRModeInfo *m = &r->modes[i];
        if (m->id == c->mode && m->hTotal && m->vTotal)
            hz = (double)m->dotClock / ((double)m->hTotal * m->vTotal);
    }
    if (c)
        l->free_crtc(c);
    if (o)
        l->free_output(o);
    return hz;
}

static nx_display of_monitor(const x_library *l, Display *d, XRRScreenResources *r,
                             const XRRMonitorInfo *m, int screen)
{
    nx_display out = {.screen = screen, .x = m->x, .y = m->y, .width = m->width, .height = m->height,
                      .width_mm = m->mwidth, .height_mm = m->mheight, .primary = m->primary};
    char *name = l->atom_name(d, m->name);
    snprintf(out.name, sizeof out.name, "%s", name ? name : "");
    if (name)
        l->free(name);
    if (r && m->noutput)
        out.refresh = refresh_of(l, d, r, m->outputs[0]);
    out.scale = nx_display_scale(m->width, m->mwidth);
    return out;
}

static size_t ask_screen(const x_library *l, Display *d, int screen, nx_display *out, size_t most)
{
    int n = 0, event, error;
    size_t taken = 0;
    Window root = l->root(d, screen);
    bool randr = l->has_randr(d, &event, &error);
    XRRMonitorInfo *m = randr ? l->monitors(d, root, True, &n) : NULL;
    XRRScreenResources *r = n > 0 ? l->resources(d, root) : NULL;
    for (int i = 0; i < n && taken < most; i++)
        out[taken++] = of_monitor(l, d, r, &m[i], screen);
    if (r)
        l->free_resources(r);
    if (m)
        l->free_monitors(m);
    if (!taken && most) { /* a server without RandR: the screen itself */
        nx_display *s = &out[taken++];
        *s = (nx_display){.screen = screen, .width = l->width(d, screen), .height = l->height(d, screen),
                          .width_mm = l->width_mm(d, screen), .height_mm = l->height_mm(d, screen),
                          .primary = screen == 0};
        snprintf(s->name, sizeof s->name, "screen-%d", screen);
        s->scale = nx_display_scale(s->width, s->width_mm);
    }
    return taken;
}

static size_t ask_x(nx_display *out, size_t most)
{
    x_library l;
    size_t n = 0;
    Display *d = load_x(&l) ? l.open(NULL) : NULL;
    if (d) {
        XErrorHandler before = l.on_error(ignore_error);
        for (int i = 0; i < l.screens(d) && n < most; i++)
            n += ask_screen(&l, d, i, out + n, most - n);
        l.on_error(before);
        l.close(d);
    }
    unload_x(&l);
    return n;
}
#else
static size_t ask_x(nx_display *out, size_t most)
{
    return 0;
}
#endif

size_t nx_displays(nx_display *out, size_t most, const char **source)
{
    const char *x = getenv("DISPLAY");
    size_t n = x && *x ? ask_x(out, most) : 0;
    *source = "x11";
    if (!n) {
        n = ask_drm(out, most);
        *source = n ? "drm" : "none";
    }
    return n;
}
