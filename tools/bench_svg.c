/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latency distributions as a picture: percentile to the right, so that every
 * further nine takes the same room, time upwards on a logarithmic scale.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "bench_rows.h"

#define WIDTH 960
#define HEIGHT 520
#define LEFT 78.0
#define RIGHT 650.0
#define TOP 84.0
#define BOTTOM 448.0
#define NINES 4.0 /* up to 99.99 % */

/* Told apart by people who see no red or no green as well (Okabe, Ito). */
static const char *const colours[] = { "#0072b2", "#d55e00", "#009e73",
				       "#cc79a7", "#e69f00", "#56b4e9",
				       "#555555", "#8b4513" };
#define COLOURS (sizeof(colours) / sizeof(colours[0]))
static const char *const dashes[] = { "none", "9 4", "2 3", "12 3 2 3" };

struct scale {
	double low, high; /* log10 of ns */
};

static double x_of(unsigned i)
{
	return LEFT + (RIGHT - LEFT) * ((double)i / 15.0) / NINES;
}

static double y_of(const struct scale *s, double ns)
{
	double at = (log10(ns < 1 ? 1 : ns) - s->low) / (s->high - s->low);

	return BOTTOM - (BOTTOM - TOP) * at;
}

static void escaped(FILE *f, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		default:
			fputc(*text, f);
		}
}

static void text_at(FILE *f, double x, double y, const char *anchor, int size,
		    const char *text)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" "
		   "font-size=\"%d\">", x, y, anchor, size);
	escaped(f, text);
	fputs("</text>\n", f);
}

/* "1.95 us"; a unit that keeps the number short. */
static void time_text(double ns, char *text, size_t room)
{
	if (ns < 1e3)
		snprintf(text, room, "%.0f ns", ns);
	else if (ns < 1e6)
		snprintf(text, room, "%.3g us", ns / 1e3);
	else if (ns < 1e9)
		snprintf(text, room, "%.3g ms", ns / 1e6);
	else
		snprintf(text, room, "%.3g s", ns / 1e9);
}

/* Down and up to 1, 2 or 5 times a power of ten around all lines. */
static struct scale scale_of(const struct bench_line *lines, unsigned count)
{
	static const double steps[] = { 1, 2, 5, 10 };
	double least = INFINITY, most = 1, power;
	struct scale s = { 0, 1 };

	for (unsigned i = 0; i < count; i++) {
		double first = (double)lines[i].curve[0];
		double last = (double)lines[i].curve[BENCH_CURVE - 1];

		least = first < least ? first : least;
		most = last > most ? last : most;
	}
	least = least < 1 || !isfinite(least) ? 1 : least;
	most = most < least * 2 ? least * 2 : most;
	power = pow(10, floor(log10(least)));
	for (unsigned i = 0; i < 4 && steps[i] * power <= least; i++)
		s.low = log10(steps[i] * power);
	power = pow(10, floor(log10(most)));
	for (unsigned i = 4; i-- > 0 && steps[i] * power >= most;)
		s.high = log10(steps[i] * power);
	return s;
}

static void grid_y(FILE *f, const struct scale *s)
{
	static const double steps[] = { 1, 2, 5 };

	for (int decade = 0; decade < 13; decade++)
		for (unsigned i = 0; i < 3; i++) {
			double ns = steps[i] * pow(10, decade), y;
			char text[24];

			if (log10(ns) < s->low - 1e-9 ||
			    log10(ns) > s->high + 1e-9)
				continue;
			y = y_of(s, ns);
			fprintf(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
				   "y2=\"%.1f\" stroke=\"%s\"/>\n", LEFT,
				RIGHT, y, y, i ? "#e8e8e8" : "#c4c4c4");
			time_text(ns, text, sizeof(text));
			text_at(f, LEFT - 8, y + 4, "end", 12, text);
		}
}

static void grid_x(FILE *f)
{
	static const struct {
		double nines;
		const char *text;
	} ticks[] = { { 0, "0 %" }, { 0.30103, "50 %" }, { 1, "90 %" },
		      { 2, "99 %" }, { 3, "99.9 %" }, { 4, "99.99 %" } };

	for (unsigned i = 0; i < sizeof(ticks) / sizeof(ticks[0]); i++) {
		double x = LEFT + (RIGHT - LEFT) * ticks[i].nines / NINES;

		fprintf(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
			   "y2=\"%.1f\" stroke=\"#d8d8d8\"/>\n", x, x, TOP,
			BOTTOM);
		text_at(f, x, BOTTOM + 20, "middle", 12, ticks[i].text);
	}
	text_at(f, (LEFT + RIGHT) / 2, BOTTOM + 44, "middle", 13,
		"share of the sample that is no slower");
}

static const char *dash_of(unsigned i)
{
	return dashes[i / COLOURS % 4];
}

static void draw_line(FILE *f, const struct scale *s, unsigned i,
		      const struct bench_line *line)
{
	fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" "
		   "stroke-dasharray=\"%s\" points=\"",
		colours[i % COLOURS], dash_of(i));
	for (unsigned k = 0; k < BENCH_CURVE; k++)
		fprintf(f, "%s%.1f,%.1f", k ? " " : "", x_of(k),
			y_of(s, (double)line->curve[k]));
	fputs("\"/>\n", f);
}

static void legend(FILE *f, unsigned i, const struct bench_line *line)
{
	double y = TOP + 12 + 42.0 * i;
	char p50[24], p99[24], p999[24], text[96];

	fprintf(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" "
		   "stroke=\"%s\" stroke-width=\"3\" "
		   "stroke-dasharray=\"%s\"/>\n", RIGHT + 18, RIGHT + 42,
		y - 4, y - 4, colours[i % COLOURS], dash_of(i));
	text_at(f, RIGHT + 50, y, "start", 13, line->label);
	time_text((double)line->p50_ns, p50, sizeof(p50));
	time_text((double)line->p99_ns, p99, sizeof(p99));
	time_text((double)line->p999_ns, p999, sizeof(p999));
	snprintf(text, sizeof(text), "p50 %s, p99 %s, p99.9 %s", p50, p99,
		 p999);
	text_at(f, RIGHT + 50, y + 16, "start", 11, text);
}

int bench_svg_write(const char *path, const char *title, const char *subtitle,
		    const struct bench_line *lines, unsigned count)
{
	struct scale s = scale_of(lines, count);
	FILE *f = fopen(path, "w");
	int failed;

	if (!f)
		return -1;
	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" "
		   "viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
		   "font-family=\"sans-serif\" fill=\"#222\">\n"
		   "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
		   "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
	text_at(f, LEFT, 32, "start", 18, title);
	text_at(f, LEFT, 54, "start", 12, subtitle);
	text_at(f, LEFT, TOP - 8, "start", 11,
		"time from submission to answer");
	grid_x(f);
	grid_y(f, &s);
	for (unsigned i = 0; i < count; i++)
		draw_line(f, &s, i, &lines[i]);
	for (unsigned i = 0; i < count; i++)
		legend(f, i, &lines[i]);
	fprintf(f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
		   "height=\"%.1f\" fill=\"none\" stroke=\"#888\"/>\n</svg>\n",
		LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP);
	failed = ferror(f);
	if (fclose(f) || failed) {
		errno = errno ? errno : EIO;
		return -1;
	}
	return 0;
}
