// Starts ReDoc, in the colours that the reader's system prefers. Its default fonts would come from another server, so it gets the system's.
const LIGHT = {
    typography: { code: { color: "#a8333d" } },
};

const DARK = {
    colors: {
        primary: { main: "#8ab8f2" },
        success: { main: "#7ccf8f" },
        error: { main: "#ff9a94" },
        gray: { 50: "#1f252c", 100: "#2a313a" },
        text: { primary: "#e6e9ed", secondary: "#aab3be" },
        border: { dark: "#4a5562", light: "#37404a" },
        responses: {
            success: { color: "#7ccf8f", backgroundColor: "rgba(124, 207, 143, 0.12)" },
            error: { color: "#ff9a94", backgroundColor: "rgba(255, 154, 148, 0.12)" },
            redirect: { color: "#e5c07b", backgroundColor: "rgba(229, 192, 123, 0.12)" },
            info: { color: "#8ab8f2", backgroundColor: "rgba(138, 184, 242, 0.12)" },
        },
    },
    schema: { nestedBackground: "#1a2027", linesColor: "#4a5562", typeNameColor: "#aab3be", typeTitleColor: "#aab3be", requireLabelColor: "#ff9a94" },
    typography: {
        code: { color: "#ffb3ad", backgroundColor: "#2a313a" },
        links: { color: "#8ab8f2", visited: "#8ab8f2", hover: "#b5d3f8" },
    },
    sidebar: { backgroundColor: "#1a2027", textColor: "#e6e9ed" },
    rightPanel: { backgroundColor: "#1f252c", servers: { overlay: { backgroundColor: "#2a313a", textColor: "#e6e9ed" }, url: { backgroundColor: "#14181d" } } },
    codeBlock: { backgroundColor: "#14181d" },
};

const theme = matchMedia("(prefers-color-scheme: dark)").matches ? DARK : LIGHT;
theme.typography.fontFamily = "system-ui, sans-serif";
theme.typography.headings = { fontFamily: "system-ui, sans-serif" };
theme.typography.code.fontFamily = "ui-monospace, monospace";

Redoc.init("/api/v1/openapi.json", { hideDownloadButton: true, theme }, document.getElementById("redoc"));
