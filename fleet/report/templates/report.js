"use strict";
(function () {
  const PAGE = 100;
  const PRINT_PAGE = 2000;
  const RANK = { FAILING: 0, NOT_OBSERVED: 1, DEGRADED: 2, HEALTHY: 3 };
  const SIGN = { FAILING: "✕", NOT_OBSERVED: "?", DEGRADED: "!", HEALTHY: "✓" };
  const data = JSON.parse(document.getElementById("data").textContent);
  const text = (at) => data.strings[at];
  const texts = (all) => all.map(text);
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  const byId = (id) => document.getElementById(id);

  const rules = data.rules.map(([label, title, severity, cause, remedy, rank]) => ({
    label: text(label), title: text(title), severity: text(severity), cause: text(cause), remedy: text(remedy), rank,
  }));

  const hosts = data.hosts.map((row, place) => {
    const [name, address, word, observed, reason, phase, message, action, connection, os, rule, cluster, groups, labels,
      status, version, heartbeat, services, started, took, findings] = row;
    return {
      place, name, address, word: text(word), observed: text(observed), reason: text(reason), phase: text(phase),
      message: text(message), action: text(action), connection: text(connection), os: text(os),
      rule: rule < 0 ? null : rules[rule], cluster, groups: texts(groups), labels: texts(labels), status: text(status),
      version: text(version), heartbeat, services: texts(services), started, took, findings, words: null, isOpen: false,
    };
  });

  const verdictName = (host) => host.word.replace("_", " ");
  const instant = (seconds) => seconds === null ? "" : new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
  const agent = (host) => [host.status, host.version].filter(Boolean).join(" ");
  const whyUnseen = (host) => host.reason
    + (host.phase && host.phase !== host.reason ? " during " + host.phase : "");
  const why = (host) => host.rule ? host.rule.label + " " + host.rule.title
    : whyUnseen(host);

  const columns = [
    { head: "Host", look: "c-host", key: (h) => h.name },
    { head: "Verdict", look: "c-verdict", key: (h) => RANK[h.word] },
    { head: "Cause", look: "", key: why },
    { head: "Agent", look: "c-agent agent", key: agent },
    { head: "Groups", look: "c-groups wide", key: (h) => h.groups.join(" ") },
    { head: "OS", look: "c-os wide", key: (h) => h.os },
    { head: "Took", look: "c-took wide", key: (h) => h.took === null ? -1 : h.took },
  ];
  const view = { column: 1, down: false, page: 0, cluster: "", size: PAGE, shown: [] };

  function make(tag, className, content) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (content !== undefined) node.textContent = content;
    return node;
  }

  // A rule's words: what stands between backticks is code. Every piece goes in as text.
  function prose(node, words) {
    words.split(/`([^`]+)`/).forEach((piece, at) => node.append(at % 2 ? make("code", "", piece) : piece));
    return node;
  }

  // A long name breaks at its dots before it breaks within a word.
  function dotted(node, name) {
    name.split(/(?<=\.)/).forEach((piece, at) => node.append(...(at ? [make("wbr"), piece] : [piece])));
    return node;
  }

  function haystack(host) {
    if (host.words === null) {
      const rule = host.findings.flat().map((finding) => rules[finding[0]].label + " " + rules[finding[0]].title);
      host.words = [host.name, host.address, verdictName(host), why(host), host.message, host.os, agent(host)]
        .concat(host.groups, host.labels, host.services, rule).join("\n").toLowerCase();
    }
    return host.words;
  }

  function compare(one, two) {
    const key = columns[view.column].key;
    const a = key(one), b = key(two);
    const found = typeof a === "number" ? a - b : order(a, b);
    if (found) return view.down ? -found : found;
    const worst = (one.rule ? one.rule.rank : 9) - (two.rule ? two.rule.rank : 9);
    return (view.column === 1 ? worst : 0) || one.place - two.place;
  }

  function select() {
    const words = byId("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdict = byId("verdict").value, group = byId("group").value, label = byId("label").value;
    view.shown = hosts.filter((host) =>
      (!verdict || host.word === verdict) && (!group || host.groups.includes(group)) &&
      (!label || host.labels.includes(label)) && (!view.cluster || host.cluster === view.cluster) &&
      words.every((word) => haystack(host).includes(word)));
    view.shown.sort(compare);
    view.page = 0;
    draw();
  }

  function draw() {
    const first = view.page * view.size;
    const rows = view.shown.slice(first, first + view.size);
    const body = byId("rows");
    body.replaceChildren();
    for (const host of rows) {
      body.append(drawRow(host));
      if (host.isOpen) body.append(drawDetails(host));
    }
    const pages = Math.max(1, Math.ceil(view.shown.length / view.size));
    const range = rows.length ? (first + 1) + "–" + (first + rows.length) + " of " : "";
    byId("status").textContent = rows.length
      ? range + view.shown.length + (view.shown.length === hosts.length ? " hosts" : " matching hosts, " + hosts.length + " in all")
      : "No host matches.";
    byId("page").textContent = "Page " + (view.page + 1) + " of " + pages;
    byId("before").disabled = view.page === 0;
    byId("after").disabled = view.page >= pages - 1;
    document.querySelector(".pages").hidden = pages === 1;
    columns.forEach((column, at) => {
      const head = byId("heads").children[at];
      if (at === view.column) head.setAttribute("aria-sort", view.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  function badge(host) {
    return make("span", "badge " + host.word, SIGN[host.word] + " " + verdictName(host));
  }

  function drawRow(host) {
    const row = make("tr", host.word === "NOT_OBSERVED" ? "unseen" : "");
    const name = make("td");
    const open = dotted(make("button", "open"), host.name);
    open.type = "button";
    open.id = "host-" + host.place;
    open.setAttribute("aria-expanded", String(host.isOpen));
    open.setAttribute("aria-controls", "details-" + host.place);
    open.addEventListener("click", () => toggle(host, row, open));
    name.append(open);
    if (host.address !== host.name) name.append(make("span", "sub mono", host.address));
    const verdict = make("td");
    verdict.append(badge(host));
    if (host.observed === "partial") verdict.append(make("span", "sub", "observed in part"));
    const cause = make("td");
    if (host.rule) {
      prose(cause, " " + host.rule.title).prepend(make("b", "", host.rule.label));
    } else {
      cause.append(why(host));
    }
    if (host.message) cause.append(make("span", "sub", host.message));
    const state = make("td", "agent", host.status);
    if (host.version) state.append(make("span", "sub", host.version));
    row.append(name, verdict, cause, state, make("td", "wide", host.groups.join(", ")), make("td", "wide", host.os),
      make("td", "wide num", host.took === null ? "" : host.took.toFixed(1) + " s"));
    return row;
  }

  function toggle(host, row, open) {
    host.isOpen = !host.isOpen;
    open.setAttribute("aria-expanded", String(host.isOpen));
    if (host.isOpen) row.after(drawDetails(host));
    else byId("details-" + host.place).remove();
  }

  function drawDetails(host) {
    const row = make("tr", "details");
    row.id = "details-" + host.place;
    const cell = make("td");
    cell.colSpan = Array.from(byId("heads").children).filter((head) => head.offsetParent).length;
    const facts = make("dl");
    const fact = (name, value) => { if (value) facts.append(make("dt", "", name), make("dd", "", value)); };
    fact("Verdict", verdictName(host) + (host.observed === "partial" ? ", observed in part" : ""));
    fact("Why", whyUnseen(host));
    fact("Message", host.message);
    if (host.action) facts.append(make("dt", "", "Next"), prose(make("dd"), host.action));
    fact("Address", host.address + " by " + host.connection);
    fact("OS", host.os);
    fact("Agent", agent(host));
    fact("Last heartbeat", instant(host.heartbeat));
    fact("Services", host.services.join("; "));
    fact("Groups", host.groups.join(", "));
    fact("Labels", host.labels.join(", "));
    fact("Visited", instant(host.started) + (host.took === null ? "" : ", took " + host.took.toFixed(1) + " s"));
    cell.append(facts);
    host.findings.forEach(([cause, ...symptoms]) => {
      const box = drawFinding(cause, false);
      if (symptoms.length) {
        const list = make("div", "symptoms");
        list.append(make("p", "quiet", "Explains:"), ...symptoms.map((symptom) => drawFinding(symptom, true)));
        box.append(list);
      }
      cell.append(box);
    });
    if (!host.findings.length) {
      const none = host.word === "NOT_OBSERVED" ? "No findings, because this host was not observed." : "No findings.";
      cell.append(make("p", "quiet", none));
    }
    row.append(cell);
    return row;
  }

  // A symptom needs neither a cause nor a remedy: those of what explains it are told above it.
  function drawFinding([at, state, count, first, last, evidence, accepted], isSymptom) {
    const rule = rules[at], box = make("div", "finding");
    const isPast = text(state) === "historical";
    const kind = isPast || accepted ? "PAST" : rule.rank < 2 ? "FAILING" : rule.rank === 2 ? "DEGRADED" : "PAST";
    const title = make("p");
    title.append(make("span", "badge " + kind, rule.severity + (isPast ? ", historical" : accepted ? ", accepted" : "")), " ",
      make("b", "", rule.label));
    prose(title, " " + rule.title);
    const isSpan = first !== null && last !== null && first !== last;
    const seen = [count === 1 ? "seen once" : "seen " + count + " times",
      ...(isSpan ? ["first " + instant(first), "last " + instant(last)] : [instant(first === null ? last : first)])];
    box.append(title);
    if (!isSymptom) {
      const remedy = make("p", "action");
      remedy.append(make("b", "", "Remedy"));
      box.append(prose(make("p", "said"), rule.cause), prose(remedy, " " + rule.remedy));
    }
    if (accepted) box.append(make("p", "quiet", "Accepted: " + text(accepted)));
    box.append(make("p", "quiet", seen.filter(Boolean).join(", ")));
    if (evidence.length) {
      const list = make("ul", "evidence mono");
      evidence.forEach(([source, line, words]) => {
        const item = make("li");
        item.append(make("span", "place", text(source) + (line ? ":" + line : "")), text(words));
        list.append(item);
      });
      box.append(list);
    }
    return box;
  }

  function fill(id, first, values) {
    const box = byId(id);
    box.append(new Option(first, ""));
    values.forEach(([value, name]) => box.append(new Option(name, value)));
    box.addEventListener("change", select);
    box.parentNode.hidden = !values.length;
  }

  function distinct(pick) {
    return Array.from(new Set(hosts.flatMap(pick))).sort(order).map((value) => [value, value]);
  }

  function only(cluster, label) {
    view.cluster = cluster;
    byId("chip").hidden = !cluster;
    byId("chip").textContent = "Only " + label + " ✕";
    select();
  }

  columns.forEach((column, at) => {
    const head = make("th", column.look);
    head.scope = "col";
    const button = make("button", "", column.head);
    button.type = "button";
    button.addEventListener("click", () => {
      view.down = view.column === at && !view.down;
      view.column = at;
      select();
    });
    head.append(button);
    byId("heads").append(head);
  });
  fill("verdict", "all", Object.keys(RANK).filter((word) => hosts.some((host) => host.word === word))
    .map((word) => [word, word.replace("_", " ")]));
  fill("group", "all", distinct((host) => host.groups));
  fill("label", "all", distinct((host) => host.labels));
  byId("text").addEventListener("input", select);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(() => only("", "")));
  byId("chip").addEventListener("click", () => only("", ""));
  byId("before").addEventListener("click", () => { view.page -= 1; draw(); });
  byId("after").addEventListener("click", () => { view.page += 1; draw(); });
  document.querySelectorAll(".show").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => {
      byId("filters").reset();
      setTimeout(() => {
        only(button.dataset.group, button.dataset.label);
        byId("hosts").scrollIntoView();
        byId("hosts").focus({ preventScroll: true });
      });
    });
  });
  // The width decides how many columns a host's details span.
  ["46rem", "76rem"].forEach((width) => matchMedia("(max-width: " + width + ")").addEventListener("change", draw));
  addEventListener("beforeprint", () => { view.size = PRINT_PAGE; view.page = 0; draw(); });
  addEventListener("afterprint", () => { view.size = PAGE; draw(); });
  byId("table").hidden = false;
  select();
})();
