/* What rsyslog's headers need to know about the host's build.
 *
 * rsyslog's own config.h comes out of its ./configure; these are the settings that the
 * distributions' builds share and that decide the layout of the structures we see.
 */
#ifndef OMVALKEYAUDIT_CONFIG_H
#define OMVALKEYAUDIT_CONFIG_H

#define NDEBUG 1
#define HAVE_ATOMIC_BUILTINS 1
#define HAVE_ATOMIC_BUILTINS64 1

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#endif
